"""All tasks of some services, assigned or only observed, each with how far its life is.

One pass over the nodes; what this finds is the only picture of running tasks that deciding uses.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Literal, TypeAlias

from controller.nodes import NodeView
from controller.world import World
from schemas.assignment import AssignedTask
from schemas.leases import replaceable_after
from schemas.observation import ObservedTask
from schemas.spec import TaskSpec
from schemas.task_ids import age

Life: TypeAlias = Literal["pending", "up", "ending", "ended", "lost"]
"""pending: to run, not (yet) up. up: running, healthy. ending: to end, not yet seen ended. lost: its node is down."""


NO_MOVES: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Task:
    """One task. `assigned` None: nobody asked for it (any more), its node ends it."""

    id: str
    service: str
    slot: str
    node: str
    spec: str
    life: Life
    assigned: AssignedTask | None
    seen: ObservedTask | None = None
    fixed: bool = False
    """Its node's assignment may not be changed now."""
    leaving: bool = False
    """Its node is drained or removed, or a rebalance moves it."""
    target: str = ""
    """Where a rebalance moves it."""

    alone: bool = False
    """It must never run twice: nothing is made beside it."""
    held_until: float = 0.0
    """Stream time before which it may still run by an old lease, though it is lost, or was until this round; for ever,
    where only a person can know."""
    sole_until: float = 0.0
    """Stream time before which nothing can have been made in its place while its node was away that is back now."""

    @property
    def candidate(self) -> bool:
        """Whether it fills its slot on a live node."""
        return self.life in ("up", "pending")

    @property
    def live(self) -> bool:
        """Whether something of it may run on a live node."""
        return self.life in ("up", "pending", "ending")


@dataclass(frozen=True, slots=True)
class Census:
    """Service -> slot -> tasks, oldest first; and assigned tasks per service that the store doesn't know."""

    services: Mapping[str, Mapping[str, list[Task]]]
    orphans: Mapping[str, int]
    prepared: Mapping[str, list[str]]
    """Service -> nodes that get ready for its next tasks."""

    def of(self, service: str) -> Mapping[str, list[Task]]:
        """Slot -> tasks."""
        return self.services.get(service, {})


def services_on(world: World, nodes: Iterable[str]) -> set[str]:
    """Services that have, or seem to have, a task on one of the nodes."""
    found: set[str] = set()
    for node in nodes:
        if (assignment := world.assignments.get(node)) is not None:
            found.update(task.service for task in assignment.record.tasks)
        if (observation := world.observations.get(node)) is not None:
            found.update(task.service for task in observation.tasks)
    return found


def take_census(
    world: World, nodes: Mapping[str, NodeView], services: Container[str], moving: Mapping[str, str] = NO_MOVES
) -> Census:
    """The tasks of `services` on all nodes. `moving`: task -> the node where it is to run instead."""
    found: dict[str, dict[str, list[Task]]] = defaultdict(lambda: defaultdict(list))
    orphans: Counter[str] = Counter()
    prepared: dict[str, list[str]] = defaultdict(list)
    for name, view in nodes.items():
        stored = world.assignments.get(name)
        assigned = stored.record.tasks if stored is not None else ()
        for service in stored.record.prepare if stored is not None else ():
            prepared[service].append(name)
        orphans.update(task.service for task in assigned if task.service not in world.services)
        mine = [task for task in assigned if task.service in services]
        observed = view.observation.tasks if view.observation is not None else ()
        theirs = {task.id: task for task in observed if task.service in services}
        if not mine and not theirs:
            continue
        for task in (*_assigned(world, view, mine, theirs, moving), *_strays(world, view, mine, theirs)):
            found[task.service][task.slot].append(task)
    for slots in found.values():
        for tasks in slots.values():
            tasks.sort(key=lambda task: (age(task.id), task.id, task.node))
    return Census(found, orphans, prepared)


def _assigned(
    world: World,
    view: NodeView,
    mine: Iterable[AssignedTask],
    theirs: Mapping[str, ObservedTask],
    moving: Mapping[str, str],
) -> Iterable[Task]:
    stored = world.assignments.get(view.name)
    specs = stored.record.specs if stored is not None else {}
    fixed = not view.editable
    for task in mine:
        seen = theirs.get(task.id)
        life = life_of(view, task, seen)
        spec = specs.get(task.spec)
        alone = spec is not None and spec.stop_after > 0
        may_run = life == "lost" or (view.back and life != "ended")
        held = held_until(view, spec) if may_run and spec is not None else 0.0
        sole = expiry(view, spec) if view.back and alone and spec is not None else 0.0
        target = "" if view.leaving or alone else moving.get(task.id, "")
        leaving = view.leaving or bool(target)
        yield Task(
            task.id,
            task.service,
            task.slot,
            view.name,
            task.spec,
            life,
            task,
            seen,
            fixed,
            leaving,
            target,
            alone=alone,
            held_until=held,
            sole_until=sole,
        )


def held_until(view: NodeView, spec: TaskSpec) -> float:
    """The stream time from which on a lost task can be relied on to have ended, if it must not run twice."""
    if not spec.stop_after:
        return 0.0
    return inf if view.uncovered else expiry(view, spec)


def expiry(view: NodeView, spec: TaskSpec) -> float:
    """The stream time from which on the node's last lease is over, and what ran by it has ended."""
    return view.lease_from + replaceable_after(spec.stop_after, spec.container.stop_grace)


def _strays(
    world: World, view: NodeView, mine: Iterable[AssignedTask], theirs: Mapping[str, ObservedTask]
) -> Iterable[Task]:
    """Live tasks that no assignment names. Those of a silent or dead node are no more than a memory; but a service that
    was removed is not forgotten over it: nobody would end them once the node is back."""
    down = view.status == "down"
    if view.gone or (down and view.record is not None and view.record.removed):
        return
    named = {task.id for task in mine}
    for seen in theirs.values():
        if down and (seen.ended or not _is_removed(world, seen.service)):
            continue
        if seen.id not in named and (not seen.ended or seen.predecessor):
            life: Life = "lost" if down else "ended" if seen.ended else "ending"
            yield Task(seen.id, seen.service, seen.slot, view.name, seen.spec, life, None, seen, not view.editable)


def _is_removed(world: World, service: str) -> bool:
    stored = world.services.get(service)
    return stored is not None and stored.record.removed


def life_of(view: NodeView, assigned: AssignedTask, seen: ObservedTask | None) -> Life:
    """How far a task's life is. On a node that may not be touched now an ended one counts as pending: wait and see.

    What its node does not show has not ended: an agent that lost its notes tells of its tasks once its engine answers.
    """
    if view.gone:
        return "ended"
    if view.status == "down":
        return "lost"
    to_end = assigned.desired == "shutdown"
    if view.editable and seen is not None and seen.ended:
        return "ended"
    if to_end:
        return "ending"
    return "up" if seen is not None and seen.up else "pending"
