"""lab: to be furnished."""
