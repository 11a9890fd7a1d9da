"""`meshctl dev`: a whole mesh of one node as one process tree on this machine, upon its own Docker engine. No root.

It starts nats-server, a controller and an agent as child processes and ends them; it starts no engine and touches no
container itself. Start reading at `meshctl.dev.plan` (what runs with which arguments), then `meshctl.dev.running`.
"""
