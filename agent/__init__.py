"""The agent: makes one machine match its assignment, and tells what runs there.

It decides nothing about other machines and never stops a container for want of information: only a stored assignment
ends a task. It touches no container that Dockmesh did not make for this mesh and this node. It never imports the
controller; only `agent.engine.docker*` imports the docker library. Start reading at `agent.tasks` (a container's life),
then `agent.reconciler`.
"""
