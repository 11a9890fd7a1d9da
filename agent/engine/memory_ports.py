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
NONE_LEFT = "no free host port is left on this node"


def bind_ports(plan: ContainerPlan, taken: Set[tuple[int, str]], chance: random.Random) -> tuple[BoundPort, ...]:
    """The host ports that a start of `plan` binds. Raises EngineError if one is taken."""
    used = set(taken)
    bound: list[BoundPort] = []
    wanted: dict[str, list[dict[str, str]]] = plan.body.get("HostConfig", {}).get("PortBindings", {})
    for target, places in sorted(wanted.items()):
        number, _, protocol = target.partition("/")
        for place in places:
            port = _of_those(place["HostPort"], used, protocol) or _pick(used, protocol, chance)
            used.add((port, protocol))
            kind = cast("Literal['tcp', 'udp']", protocol)
            bound.append(BoundPort(target=int(number), published=port, protocol=kind, host_ip=place["HostIp"]))
    return tuple(bound)


def _of_those(wanted: str, used: Set[tuple[int, str]], protocol: str) -> int:
    """The first free one of `8080` or `8000-8010`; 0: any is wanted."""
    if not wanted:
        return 0
    first, _, last = wanted.partition("-")
    for port in range(int(first), int(last or first) + 1):
        if (port, protocol) not in used:
            return port
    raise EngineError(NONE_LEFT if last else f"port {wanted}/{protocol} is already taken on this node")


def _pick(used: Set[tuple[int, str]], protocol: str, chance: random.Random) -> int:
    start = chance.randint(FIRST_FREE, LAST_FREE)
    for port in itertools.chain(range(start, LAST_FREE + 1), range(FIRST_FREE, start)):
        if (port, protocol) not in used:
            return port
    raise EngineError(NONE_LEFT)
