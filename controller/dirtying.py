"""What each new record asks to be decided anew, and the marks in which that gathers between two rounds. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.records import Seen
from controller.world import Dirty
from schemas.assignment import Assignment
from schemas.observation import Observation
from schemas.records import StackRecord
from schemas.wire import Wire


@dataclass
class Marks:
    """Dirty, while it gathers."""

    services: set[str] = field(default_factory=set)
    nodes: set[str] = field(default_factory=set)
    everything: bool = False

    def __bool__(self) -> bool:
        return bool(self.services or self.nodes or self.everything)

    def add(self, dirty: Dirty) -> None:
        """Put `dirty` to what is there."""
        self.services |= dirty.services
        self.nodes |= dirty.nodes
        self.everything = self.everything or dirty.everything

    def take(self) -> Dirty:
        """What has gathered; nothing is left."""
        dirty = Dirty(frozenset(self.services), frozenset(self.nodes), self.everything)
        self.services, self.nodes, self.everything = set(), set(), False
        return dirty


def dirty_by(seen: Seen) -> Dirty:
    """What a change of the state may ask to be decided anew."""
    noun, _, name = seen.key.partition(".")
    match noun:
        case "service" | "rollout":
            return Dirty(services=frozenset({name}))
        case "revision":
            return Dirty(services=frozenset({name.rpartition(".")[0]}))
        case "stack":
            return Dirty(services=_services_named(seen.old) | _services_named(seen.new))
        case "desired":
            return Dirty(services=_services_changed(seen.old, seen.new), nodes=frozenset({name}))
        case "node" | "liveness" | "brake" | "rebalance" | "order" | "mesh" | "network" | "alloc":
            return Dirty(everything=True)
        case _:
            return Dirty()


def _services_changed(old: Wire | None, new: Wire | None) -> frozenset[str]:
    before = set(old.tasks) if isinstance(old, Assignment) else set()
    after = set(new.tasks) if isinstance(new, Assignment) else set()
    return frozenset(task.service for task in before ^ after)


def _services_named(stack: Wire | None) -> frozenset[str]:
    return frozenset(stack.services) if isinstance(stack, StackRecord) else frozenset()


def dirty_by_observation(old: Observation | None, new: Observation) -> Dirty:
    """What a new observation may ask to be decided anew; `everything` when the node itself is another."""
    if old is None or _node_part(old) != _node_part(new):
        return Dirty(nodes=frozenset({new.node}), everything=True)
    before = {task.id: task for task in old.tasks}
    after = {task.id: task for task in new.tasks}
    services = {
        task.service
        for id_ in before.keys() | after.keys()
        for task in (before.get(id_), after.get(id_))
        if task is not None and before.get(id_) != after.get(id_)
    }
    return Dirty(services=frozenset(services), nodes=frozenset({new.node}))


def _node_part(observation: Observation) -> tuple[object, ...]:
    return (
        observation.instance,
        observation.boot,
        observation.volumes,
        observation.ports_taken,
        observation.facts,
        observation.engine,
    )
