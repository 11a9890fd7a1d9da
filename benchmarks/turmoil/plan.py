"""Which faults happen, in which order and for how long. Pure: the same seed gives the same turns, for ever.

Faults come in turns of one or two at a time, on different machines; each mends itself after its `seconds`. Every few
turns there is a calm, in which the mesh has to be exactly as it is wanted. A disaster comes alone, between two calms,
while operators hold still. What docs/RELIABILITY.md does not promise is not tried: no two nats-servers at once but all
of them, no agent that is frozen for longer than a lease outlives, none that is dead on a node that is cut off.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

CALM_EVERY = 4
"""Turns from one calm to the next."""

DISASTER_AT = 2
"""In which of these turns a disaster comes: each kind once, in an order that is drawn, before any comes again."""

TWO_AT_ONCE = 0.5
"""How often a second fault comes with the first."""

GREEDY, LEASED = "greedy", "leased"
"""Stand for the node of the task that asks for more memory than it may have, and of the one that must not run twice."""

OTHERS = {
    "controller": ("node", "nats", "task"),
    "node": ("controller", "node", "nats"),
    "nats": ("controller", "node", "task"),
    "task": ("controller", "nats"),
}
"""Of which groups a second fault may be. With a disaster, of the group "mesh", none comes."""


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
    Kind("node-power", "node", 4, 3, 45),
    Kind("node-bounce", "node", 2, 1, 4),
    Kind("node-cut", "node", 4, 2, 50),
    Kind("node-flap", "node", 2, 10, 60),
    Kind("agent-kill", "node", 4, 0.5, 10),
    Kind("agent-stall", "node", 2, 1, 30),
    Kind("engine-restart", "node", 3, 0.5, 6),
    Kind("engine-kill", "node", 2, 0.5, 6),
    Kind("engine-stall", "node", 3, 5, 60),
    Kind("task-kill", "node", 2, 0.1, 0.1),
    Kind("task-remove", "node", 2, 0.1, 0.1),
    Kind("task-memory", "task", 2, 0.1, 0.1),
    Kind("lease-cut", "task", 2, 40, 60),
    Kind("nats-kill", "nats", 4, 1, 12),
    Kind("nats-stall", "nats", 3, 3, 30),
    Kind("nats-cut", "nats", 2, 2, 15),
    Kind("nats-all", "nats", 2, 1, 12),
    Kind("store-lost", "mesh", 0, 5, 15),
    Kind("store-back", "mesh", 0, 5, 15),
    Kind("nodes-return", "mesh", 0, 3, 10),
    Kind("nodes-release", "mesh", 0, 3, 10),
    Kind("boot-alone", "mesh", 0, 1, 5),
    Kind("engine-full", "mesh", 0, 3, 10),
)
"""`engine` is containerd with dockerd; `task` is a container that somebody ends behind the mesh's back, or (`memory`)
one that asks for more than it may have; `lease-cut` hits the node of what must not run twice, for so long that it has
to move. `bounce`: power off and on, three times. `store-back`: the servers have older files again; `nodes`: more than
half of them vanish, and return, or the brake is released; `boot-alone`: a node loses its power and boots while no
nats-server runs; `full`: the disk of an engine. Shorter ones are likelier than longer."""

NAMES = tuple(kind.name for kind in KINDS)


@dataclass(frozen=True)
class Fault:
    """One fault: it begins `after` seconds after its turn did."""

    kind: str
    machine: str
    """The machine that it hits, or several with commas between; "leader", "stream-leader", "greedy" and "leased" are
    looked up when it happens; "all": every nats-server."""
    seconds: float
    after: float = 0.0


@dataclass(frozen=True)
class Turn:
    """What happens at once, and the rest afterwards. `calm`: then all has to be as it is wanted."""

    faults: tuple[Fault, ...]
    rest: float
    calm: bool = False


def turns(seed: int, *, nodes: int = 4, servers: int = 3, only: tuple[str, ...] = ()) -> Iterator[Turn]:
    """The turns of a run, without end. `only`: just these kinds."""
    rng = random.Random(f"turns {seed}")
    chosen = [kind for kind in KINDS if not only or kind.name in only]
    disasters = [kind for kind in chosen if kind.group == "mesh"]
    deck = Deck(rng, [kind for kind in chosen if kind.group != "mesh"])
    pile: list[Kind] = []
    number = 0
    while True:
        number += 1
        if disasters and (number % CALM_EVERY == DISASTER_AT or not deck.kinds):
            pile = pile or rng.sample(disasters, len(disasters))
            faults: tuple[Fault, ...] = (_fault(rng, pile.pop(), nodes, servers),)
        else:
            faults = _faults(rng, deck, nodes, servers)
        yield Turn(faults, round(rng.uniform(1, 8), 1), number % CALM_EVERY == 0)


class Deck:
    """Draws kinds by their weight; what has come is less likely to come again, so that none is left out for long."""

    def __init__(self, rng: random.Random, kinds: list[Kind]) -> None:
        self.kinds = kinds
        self._rng = rng
        self.came: Counter[str] = Counter()

    def draw(self, groups: tuple[str, ...] = tuple(OTHERS)) -> Kind | None:
        """The next one of these groups, if there is any."""
        kinds = [kind for kind in self.kinds if kind.group in groups]
        if not kinds:
            return None
        return self._rng.choices(kinds, [kind.weight / (1 + self.came[kind.name]) ** 2 for kind in kinds])[0]


def _faults(rng: random.Random, deck: Deck, nodes: int, servers: int) -> tuple[Fault, ...]:
    first = deck.draw()
    assert first is not None, "no kind is left to draw from"
    faults = [_fault(rng, first, nodes, servers)]
    second = deck.draw(OTHERS[first.group]) if rng.random() < TWO_AT_ONCE else None
    if second is not None:
        fault = _fault(rng, second, nodes, servers, after=round(rng.uniform(0, 5), 1))
        if fault.machine != faults[0].machine:
            faults.append(fault)
    deck.came.update(fault.kind for fault in faults)
    return tuple(faults)


def _fault(rng: random.Random, kind: Kind, nodes: int, servers: int, after: float = 0.0) -> Fault:
    seconds = round(kind.least + (kind.most - kind.least) * rng.random() ** 2, 1)
    return Fault(kind.name, _machine(rng, kind, nodes, servers), seconds, after)


def _machine(rng: random.Random, kind: Kind, nodes: int, servers: int) -> str:
    names = [f"node-{number}" for number in range(1, nodes + 1)]
    if kind.name.startswith("nodes-"):
        return ",".join(sorted(rng.sample(names, max(3, nodes // 2 + 1))))
    if kind.name in ("nats-all", "store-lost", "store-back"):
        return "all"
    if kind.name == "engine-full":
        return small(nodes)
    if kind.name in ("node-power", "node-bounce", "boot-alone"):
        names.remove(small(nodes))
    return {
        "controller": "leader",
        "nats": rng.choice(["stream-leader", *(f"nats-{number}" for number in range(1, servers + 1))]),
        "task": LEASED if kind.name == "lease-cut" else GREEDY,
    }.get(kind.group, rng.choice(names))


def small(nodes: int) -> str:
    """The node whose engine has a small disk, in memory: it keeps its power, which would take the disk with it."""
    return f"node-{nodes}"
