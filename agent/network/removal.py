"""Takes all networks of the mesh off a machine that leaves it; the agent does not run meanwhile."""

from __future__ import annotations

from agent.engine.labels import Owner
from agent.engine.port import Engine
from agent.network.port import Machine
from schemas.errors import Conflict, Refused


async def remove_networks(engine: Engine, machine: Machine, owner: Owner) -> tuple[str, ...]:
    """Remove links, rules and the engine's networks; the names of these. May be done twice.

    Raises Refused: containers run on one. EngineError: the engine or the machine refuses.
    """
    names = tuple(sorted(each.name for each in await engine.networks(owner)))
    for name in names:
        try:
            await engine.remove_network(name, owner)
        except Conflict as error:
            raise Refused(str(error), hint=f"end them first: meshctl node drain {owner.node}") from error
    await machine.clear()
    return names
