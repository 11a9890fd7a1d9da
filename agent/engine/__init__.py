"""The container engine behind a port: docker.py (real), memory.py (product code for simulation)."""
