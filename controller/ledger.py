"""What each node has left, in this round: tasks, reservations, host ports, bytes of its assignment.

Rooms are read when first asked for, after ended tasks were dropped, and follow each placement. CPUs are counted in
billionths of a core, so that sums do not depend on their order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from controller.company import Company, Member
from controller.draft import Draft
from controller.nodes import NodeView
from schemas.assignment import AssignedTask
from schemas.observation import ObservedTask
from schemas.spec import TaskSpec
from schemas.task_ids import age
from schemas.wire import encode

TASK_BYTES = 600
"""The most that one encoded `AssignedTask` takes: names and reasons are bounded."""

_NANO = 1_000_000_000
_MOST_CPUS = 1e6
"""What an agent or a spec says beyond that is no number of cores."""

_ANY_ADDRESS = frozenset({"", "0.0.0.0", "::"})


@dataclass(frozen=True, slots=True)
class HostPort:
    """A port of the host that a task publishes, or the range of which its engine is to pick one."""

    port: int
    protocol: str
    address: str
    last: int = 0
    """Of the range; 0: it is none."""

    @property
    def choices(self) -> range:
        """The ports that will do."""
        return range(self.port, max(self.port, self.last) + 1)

    def clashes(self, address: str) -> bool:
        """Whether the same port on `address` is the same place."""
        return self.address == address or self.address in _ANY_ADDRESS or address in _ANY_ADDRESS


@dataclass(frozen=True, slots=True)
class Needs:
    """What one task of a spec takes from a node."""

    spec: str
    cpus: int
    memory: int
    ports: tuple[HostPort, ...]
    """Those that are named."""
    size: int
    """Bytes of the encoded spec, which an assignment holds once."""
    ranges: tuple[HostPort, ...] = ()
    """Of each its engine picks one."""


NOTHING = Needs("", 0, 0, (), 0)


@dataclass(slots=True)
class Room:
    """One node's capacity and what is taken of it."""

    cpus: int
    memory: int
    tasks: int = 0
    cpus_taken: int = 0
    memory_taken: int = 0
    ports: dict[tuple[int, str], list[tuple[str, str]]] = field(default_factory=dict)
    """(port, protocol) -> (address, task id or "") of all who hold it."""
    specs: dict[str, int] = field(default_factory=dict)
    """Bytes of each spec."""
    company: Company = field(default_factory=Company)
    """Who else runs there."""

    @property
    def size(self) -> int:
        """Bytes of the assignment, at the most."""
        return self.tasks * TASK_BYTES + sum(self.specs.values())

    def without(self, task: str, freed: Needs) -> Room:
        """The room as it were if the task, which holds `freed`, had ended."""
        ports = {place: [held for held in holders if held[1] != task] for place, holders in self.ports.items()}
        return replace(
            self,
            tasks=self.tasks - 1,
            cpus_taken=self.cpus_taken - freed.cpus,
            memory_taken=self.memory_taken - freed.memory,
            ports=ports,
            company=self.company.without(task),
        )

    def free(self, port: HostPort, besides: Iterable[HostPort] = ()) -> HostPort | None:
        """The first of the port's choices that nobody holds, and none of `besides` is; None: they are all taken."""
        for number in port.choices:
            held = (address for address, _ in self.ports.get((number, port.protocol), ()))
            others = (each.address for each in besides if (each.port, each.protocol) == (number, port.protocol))
            if not any(port.clashes(address) for address in (*held, *others)):
                return HostPort(number, port.protocol, port.address)
        return None

    def hold(self, port: HostPort, owner: str) -> None:
        """Note who holds a port."""
        self.ports.setdefault((port.port, port.protocol), []).append((port.address, owner))


class Ledger:
    """The rooms of all nodes."""

    def __init__(self, draft: Draft, nodes: Mapping[str, NodeView]) -> None:
        self._draft = draft
        self._nodes = nodes
        self._rooms: dict[str, Room] = {}
        self._needs: dict[str, Needs] = {}

    def needs(self, name: str, spec: TaskSpec | None) -> Needs:
        """What a task of the spec takes; `name` is the spec hash."""
        if spec is None:
            return NOTHING
        found = self._needs.get(name)
        if found is None:
            found = self._needs[name] = needs_of(name, spec)
        return found

    def room(self, node: str) -> Room:
        """The node's room as it is now."""
        found = self._rooms.get(node)
        if found is None:
            found = self._rooms[node] = self._read(self._nodes[node])
        return found

    def take(self, node: str, task: str, needs: Needs, member: Member) -> None:
        """A task was placed."""
        room = self.room(node)
        _add(room, task, needs)
        _hold_ranges(room, task, needs)
        room.company.add(task, member)

    def _read(self, view: NodeView) -> Room:
        facts = view.facts
        room = Room(_nano(facts.cpus), facts.memory)
        observed = {task.id: task for task in view.observation.tasks} if view.observation is not None else {}
        unbound: list[tuple[str, Needs]] = []
        for task in self._draft.tasks(view.name):
            seen = observed.get(task.id)
            needs = self.needs(task.spec, self._draft.spec(view.name, task.spec))
            if seen is not None and seen.ended:
                room.tasks += 1
                room.specs[needs.spec] = needs.size
            else:
                _add(room, task.id, needs)
                spec = self._draft.spec(view.name, task.spec)
                avoids = spec.placement.anti_affinity if spec is not None else ()
                room.company.add(task.id, Member(task.service, avoids, task.desired == "running"))
                if seen is not None and seen.ports:
                    _hold_bound(room, task, seen)
                elif needs.ranges:
                    unbound.append((task.id, needs))
        for name in self._draft.prepared(view.name).values():
            needs = self.needs(name, self._draft.spec(view.name, name))
            room.specs[needs.spec] = needs.size
        if view.observation is not None:
            for bound in view.observation.ports_taken:
                room.hold(HostPort(bound.published, bound.protocol, bound.host_ip), "")
        for owner, needs in sorted(unbound, key=lambda held: (age(held[0]), held[0])):  # as they were placed
            _hold_ranges(room, owner, needs)
        return room


def needs_of(name: str, spec: TaskSpec) -> Needs:
    """What a task of the spec takes."""
    wanted = [port for port in spec.container.ports if port.published and port.mode == "host"]
    return Needs(
        spec=name,
        cpus=_nano(spec.reservations.cpus),
        memory=spec.reservations.memory,
        ports=tuple(HostPort(port.published, port.protocol, port.host_ip) for port in wanted if len(port.choices) == 1),
        ranges=tuple(
            HostPort(port.published, port.protocol, port.host_ip, port.published_last)
            for port in wanted
            if len(port.choices) > 1
        ),
        size=len(encode(spec)) + 32,
    )


def _nano(cpus: float) -> int:
    return round(min(cpus, _MOST_CPUS) * _NANO)


def clash(room: Room, needs: Needs) -> HostPort | None:
    """The first port that somebody holds, or the first range of which no port is left."""
    for port in needs.ports:
        if room.free(port) is None:
            return port
    picked = list(needs.ports)
    for port in needs.ranges:
        free = room.free(port, picked)
        if free is None:
            return port
        picked.append(free)
    return None


def _add(room: Room, task: str, needs: Needs) -> None:
    room.tasks += 1
    room.cpus_taken += needs.cpus
    room.memory_taken += needs.memory
    room.specs[needs.spec] = needs.size
    for port in needs.ports:
        room.hold(port, task)


def _hold_bound(room: Room, task: AssignedTask, seen: ObservedTask) -> None:
    """Ports that the engine picked are taken, too."""
    for bound in seen.ports:
        room.hold(HostPort(bound.published, bound.protocol, bound.host_ip), task.id)


def _hold_ranges(room: Room, task: str, needs: Needs) -> None:
    """Which port the engine picks is not known before the task runs: one is counted, whichever it will be."""
    for port in needs.ranges:
        free = room.free(port)
        if free is not None:
            room.hold(free, task)
