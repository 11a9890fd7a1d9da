"""A whole real mesh on one machine: nats-servers, controllers, and nodes with a Docker engine and an agent each.

Every machine of a lab is one process (`lab.init`, the first of its own process, network, mount and host name
namespaces) and what runs below it; when that process dies, the kernel ends all the rest. Nothing of the host is
changed: no rule, no setting, no mount, no engine of its own is joined. `plan` decides (pure), `machine` and `lab` do.
Imported by meshctl and by tests; never by controller or agent. Start reading at `lab.plan`, then `lab.lab`.
"""
