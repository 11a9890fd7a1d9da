"""Networks of the mesh on one node: overlay, names and virtual IPs. Not built yet."""
