"""What an agent's word about its own tasks may bring, where the store does not know them. Pure.

An agent may lie, and its word becomes an assignment. So it takes nothing from others: what it tells of a slot that
another node's assignment names is to end there if the task elsewhere is up. Only tasks that its provisional assignment
names are the leader's own: the planner decides about them as after any node's return. What the store does not know (a
service, a revision, a spec) may have been lost with it, and stays: it is its own node that runs it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from controller.work import aim_of, slot_key
from controller.world import World
from schemas.assignment import AssignedTask, Assignment
from schemas.spec import TaskSpec
from schemas.task_ids import age, lineage

Slot = tuple[str, str]
"""Service and slot."""

_ID = re.compile(r"[0-9a-z]{1,12}-[0-9a-z]{1,12}(\.r[0-9]{1,9})?")
_SHOWN = 40
"""Characters of an id that is no id that are told."""


@dataclass(frozen=True)
class Word:
    """What an agent's word comes to."""

    held: Assignment | None = None
    """What it holds, as it may be stored; None: nothing."""
    waits: str = ""
    """What is to be known before it may be stored."""
    refused: str = ""
    """Why nothing of it can be believed: then the node is left alone, and nothing there is stopped."""


@dataclass(frozen=True)
class _Other:
    """A task that another node's assignment names."""

    node: str
    task: AssignedTask
    up: bool
    stands: bool
    """Its node is not down, and not known from a backup alone: else its slot is to be filled anyway."""
    expected: bool
    """Its node was not heard by this leader yet, and has still time."""
    alone: bool
    """It must not run twice."""


def weigh(world: World, named: Assignment, held: Assignment | None) -> Word:
    """The word of an agent for which the store names `named`: nothing, or a backup's provisional assignment."""
    if held is None or held.node != named.node:
        return Word()
    if world.unseen_since is not None:
        return Word(waits="the leader has not got all that nodes told")
    others = _others(world, named.node)
    if refused := _not_ids(held, world.epoch) or _borrowed(held, others):
        return Word(refused=refused)
    specs = _specs(world, held)
    known = {_identity(task) for task in named.tasks}
    own = [(task.service, task.slot) for task in held.tasks if _identity(task) in known]
    taken = _taken([*others, *own])
    must_end: dict[str, str] = {}
    for task in sorted((task for task in held.tasks if _identity(task) not in known), key=_place):
        slot = (task.service, task.slot)
        beside = [other for other in others.get(slot, ()) if other.stands]
        if late := next((other for other in beside if other.expected), None):
            return Word(
                waits=f"node {late.node}, which has a task of slot {task.slot} of {task.service}, is not heard yet"
            )
        alone = _is_alone(specs.get(task.spec))
        if filled := next((other for other in beside if other.up or alone or other.alone), None):
            must_end[task.id] = f"the slot is filled by {filled.task.id} on {filled.node}"
        elif why := _surplus(world, named.node, task, len(taken[task.service] - {task.slot})):
            must_end[task.id] = why
        else:
            taken[task.service].add(task.slot)
    cause = f"node.back/{named.node}"
    tasks = tuple(_ended(task, must_end[task.id], cause) if task.id in must_end else task for task in held.tasks)
    return Word(msgspec.structs.replace(held, tasks=tasks, specs=specs, prepare={}))


def _ended(task: AssignedTask, why: str, cause: str) -> AssignedTask:
    if task.desired == "shutdown":
        return task
    return msgspec.structs.replace(task, desired="shutdown", why=why, cause=cause)


def _identity(task: AssignedTask) -> tuple[str, str, str, int, str]:
    return (lineage(task.id), task.service, task.slot, task.revision, task.spec)


def _place(task: AssignedTask) -> tuple[str, tuple[int, int, str], str]:
    return (task.service, slot_key(task.slot), task.id)


def _not_ids(held: Assignment, epoch: int) -> str:
    """Ids are the order of tasks: one that no leader before this one can have made would be the latest for ever."""
    for task in held.tasks:
        if not _ID.fullmatch(task.id):
            return f"{task.id[:_SHOWN]!r} is no task's id"
        if age(task.id) >= (epoch,):
            return f"task {task.id} can't have been made before epoch {epoch}"
    return ""


def _borrowed(held: Assignment, others: Mapping[Slot, list[_Other]]) -> str:
    nodes = {lineage(other.task.id): other.node for beside in others.values() for other in beside}
    for task in held.tasks:
        if (node := nodes.get(lineage(task.id))) is not None:
            return f"task {task.id} is one of node {node}"
    return ""


def _others(world: World, node: str) -> dict[Slot, list[_Other]]:
    """What the assignments of all other nodes name."""
    found: dict[Slot, list[_Other]] = defaultdict(list)
    for name, stored in sorted(world.assignments.items()):
        if name == node:
            continue
        record, liveness, member = stored.record, world.liveness.get(name), world.nodes.get(name)
        heard, down = name in world.heard, liveness is not None and liveness.verdict == "down"
        stands = not down and (heard or not record.provisional)
        expected = stands and not heard and member is not None and not member.record.removed
        observation = world.observations.get(name)
        up = {task.id for task in observation.tasks if task.up} if observation is not None and heard else set()
        for task in record.tasks:
            is_up = task.desired == "running" and task.id in up
            alone = _is_alone(record.specs.get(task.spec))
            found[task.service, task.slot].append(_Other(name, task, is_up, stands, expected, alone))
    return found


def _is_alone(spec: TaskSpec | None) -> bool:
    return spec is not None and spec.stop_after > 0


def _taken(slots: Iterable[Slot]) -> defaultdict[str, set[str]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for service, slot in slots:
        found[service].add(slot)
    return found


def _surplus(world: World, node: str, task: AssignedTask, others: int) -> str:
    """Why the service has no use for the slot beside so many others: else it might give up one of those for it."""
    stored = world.services.get(task.service)
    if stored is None or stored.record.removed:
        return ""
    if stored.record.mode == "global":
        return "" if task.slot == node else f"slot {task.slot} is not this node's"
    replicas = aim_of(stored.record, world.rollouts.get(task.service)).replicas
    return "" if others < replicas else f"{others} other slots stand already, {replicas} are wanted"


def _specs(world: World, held: Assignment) -> dict[str, TaskSpec]:
    """The specs that the tasks need; one that the store knows is the store's, whatever was told under its hash."""
    services, used = {task.service for task in held.tasks}, {task.spec for task in held.tasks}
    specs = {name: spec for name, spec in held.specs.items() if name in used}
    for (service, _), revision in world.revisions.items():
        if service in services and (name := revision.spec.task.hash) in specs:
            specs[name] = revision.spec.task
    return specs
