"""Host ports of containers in memory."""

from __future__ import annotations

import itertools
import random
from collections.abc import Set
from typing import Literal, cast

from agent.engine.plans import ContainerPlan
from schemas.errors import EngineError
from schemas.observation import BoundPort

FIRST_FREE, LAST_FREE = 32768, 60999


def bind_ports(plan: ContainerPlan, taken: Set[tuple[int, str]], chance: random.Random) -> tuple[BoundPort, ...]:
    """The host ports that a start of `plan` binds. Raises EngineError if one is taken."""
    used = set(taken)
    bound: list[BoundPort] = []
    wanted: dict[str, list[dict[str, str]]] = plan.body.get("HostConfig", {}).get("PortBindings", {})
    for target, places in sorted(wanted.items()):
        number, _, protocol = target.partition("/")
        for place in places:
            port: int = int(place["HostPort"]) if place["HostPort"] else _pick(used, protocol, chance)
            if (port, protocol) in used:
                raise EngineError(f"port {port}/{protocol} is already taken on this node")
            used.add((port, protocol))
            kind = cast("Literal['tcp', 'udp']", protocol)
            bound.append(BoundPort(target=int(number), published=port, protocol=kind, host_ip=place["HostIp"]))
    return tuple(bound)


def _pick(used: Set[tuple[int, str]], protocol: str, chance: random.Random) -> int:
    start = chance.randint(FIRST_FREE, LAST_FREE)
    for port in itertools.chain(range(start, LAST_FREE + 1), range(FIRST_FREE, start)):
        if (port, protocol) not in used:
            return port
    raise EngineError("no free host port is left on this node")
