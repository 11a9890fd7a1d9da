"""meshctl: to be furnished."""
