"""How the mesh talks: the ports (`bus.port`) and two adapters, `bus.nats` (the real one) and `bus.memory`.

No decision of orchestration stands here, and no header of NATS is known above the adapter. Only `bus.nats*` modules
import the nats library. Controllers, agents, meshctl and the lab may import `bus.port` and its values (`bus.commits`,
`bus.users`); their `main` picks the adapter. Start reading at `bus.port`.
"""
