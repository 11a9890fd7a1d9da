"""Networks of the mesh on one machine: bridges and tunnels, names, virtual addresses, published ports.

It carries out what the leader has allotted (`alloc.*`, `endpoints.>`) for the tasks of this node, and decides nothing
of it. It never touches what is not its own: its things are called `br-m<n>`, `vx-m<n>`, `mesh.<network>`, the nftables
table `dockmesh`, the iptables chain `DOCKMESH`. May be imported by `agent` alone. Start reading at DESIGN.md.
"""
