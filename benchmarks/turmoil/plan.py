"""Which faults happen, in which order and for how long. Pure: the same seed gives the same turns, for ever.

Faults come in turns of one or two at a time, on different machines; each mends itself after its `seconds`. Every few
turns there is a calm, in which the mesh has to be exactly as it is wanted. What docs/RELIABILITY.md does not promise is
not tried: no two nats-servers at once but all of them, no agent that is frozen for longer than a lease outlives, none
that is dead on a node that is cut off.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

CALM_EVERY = 4
"""Turns from one calm to the next."""

TWO_AT_ONCE = 0.5
"""How often a second fault comes with the first."""


@dataclass(frozen=True)
class Kind:
    """One kind of fault: whom it hits, how often it is drawn, and how long it may last (seconds)."""

    name: str
    group: str
    weight: int
    least: float
    most: float


KINDS = (
    Kind("leader-kill", "controller", 5, 1, 8),
    Kind("leader-stall", "controller", 4, 2, 30),
    Kind("leader-cut", "controller", 4, 2, 15),
    Kind("leader-stop", "controller", 3, 1, 8),
    Kind("node-power", "node", 4, 3, 25),
    Kind("node-cut", "node", 4, 2, 25),
    Kind("node-flap", "node", 2, 10, 20),
    Kind("agent-kill", "node", 4, 0.5, 10),
    Kind("agent-stall", "node", 2, 1, 12),
    Kind("engine-restart", "node", 3, 0.5, 6),
    Kind("engine-kill", "node", 2, 0.5, 6),
    Kind("engine-stall", "node", 3, 5, 60),
    Kind("task-kill", "node", 2, 0.1, 0.1),
    Kind("task-remove", "node", 2, 0.1, 0.1),
    Kind("nats-kill", "nats", 4, 1, 12),
    Kind("nats-stall", "nats", 3, 3, 30),
    Kind("nats-cut", "nats", 2, 2, 15),
    Kind("nats-all", "nats", 2, 1, 12),
)
"""`engine` is containerd with dockerd; `task` is a container of `web` that somebody ends behind the mesh's back."""

NAMES = tuple(kind.name for kind in KINDS)


@dataclass(frozen=True)
class Fault:
    """One fault: it begins `after` seconds after its turn did."""

    kind: str
    machine: str
    """The machine that it hits; "leader" and "stream-leader" are looked up when it happens; "all": every server."""
    seconds: float
    after: float = 0.0


@dataclass(frozen=True)
class Turn:
    """What happens at once, and the rest afterwards. `calm`: then all has to be as it is wanted."""

    faults: tuple[Fault, ...]
    rest: float
    calm: bool = False


def turns(seed: int, *, nodes: int = 3, servers: int = 3, only: tuple[str, ...] = ()) -> Iterator[Turn]:
    """The turns of a run, without end. `only`: just these kinds."""
    rng = random.Random(f"turns {seed}")
    kinds = [kind for kind in KINDS if not only or kind.name in only]
    number = 0
    while True:
        number += 1
        yield Turn(_faults(rng, kinds, nodes, servers), round(rng.uniform(1, 8), 1), number % CALM_EVERY == 0)


def _faults(rng: random.Random, kinds: list[Kind], nodes: int, servers: int) -> tuple[Fault, ...]:
    first = _draw(rng, kinds)
    faults = [_fault(rng, first, nodes, servers)]
    others = [kind for kind in kinds if kind.group != first.group or kind.group == "node"]
    if others and rng.random() < TWO_AT_ONCE:
        fault = _fault(rng, _draw(rng, others), nodes, servers, after=round(rng.uniform(0, 5), 1))
        if fault.machine != faults[0].machine:
            faults.append(fault)
    return tuple(faults)


def _draw(rng: random.Random, kinds: list[Kind]) -> Kind:
    return rng.choices(kinds, [kind.weight for kind in kinds])[0]


def _fault(rng: random.Random, kind: Kind, nodes: int, servers: int, after: float = 0.0) -> Fault:
    machine = {
        "controller": "leader",
        "node": f"node-{rng.randint(1, nodes)}",
        "nats": rng.choice(["stream-leader", *(f"nats-{number}" for number in range(1, servers + 1))]),
    }[kind.group]
    if kind.name == "nats-all":
        machine = "all"
    return Fault(kind.name, machine, round(rng.uniform(kind.least, kind.most), 1), after)
