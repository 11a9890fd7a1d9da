"""agent: to be furnished."""
