"""The engine room: a container engine behind a port (`agent.engine.port`).

Adapters: `agent.engine.docker` (real; only its `docker*` modules import the docker library) and `agent.engine.memory`
(product code for simulation). Pure: `container` (spec -> create call), `archive` and `transfer` (images on their way).
Nothing here decides what should run, or when. Start reading at `agent.engine.port`.
"""
