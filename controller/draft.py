"""The assignments as this round leaves them: a copy on write over the stored ones.

Every edit says why. `changes` yields what differs from the store, nodes that only lose tasks first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from controller.census import Task
from controller.changes import PutAssignment
from controller.world import World
from schemas.assignment import AssignedTask, Assignment
from schemas.spec import TaskSpec


class Draft:
    """Edits of this round."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._tasks: dict[str, dict[str, AssignedTask]] = {}
        self._specs: dict[str, dict[str, TaskSpec]] = {}
        self._prepare: dict[str, dict[str, str]] = {}
        self._grown: set[str] = set()

    def tasks(self, node: str) -> Iterable[AssignedTask]:
        """What the node is to run or to end, as things stand in this round."""
        if node in self._tasks:
            return self._tasks[node].values()
        stored = self._world.assignments.get(node)
        return stored.record.tasks if stored is not None else ()

    def spec(self, node: str, spec: str) -> TaskSpec | None:
        """A spec that the node's assignment holds."""
        if (specs := self._specs.get(node)) is not None:
            return specs.get(spec)
        stored = self._world.assignments.get(node)
        return stored.record.specs.get(spec) if stored is not None else None

    def add(self, node: str, task: AssignedTask, spec: TaskSpec) -> None:
        """Give the node a new task."""
        self._open(node)[task.id] = task
        self._specs[node][task.spec] = spec
        self._grown.add(node)

    def end(self, task: Task, why: str, cause: str) -> AssignedTask:
        """Ask for the task's end."""
        assert task.assigned is not None, "only an assigned task can be told to end"
        changed = msgspec.structs.replace(task.assigned, desired="shutdown", why=why, cause=cause)
        self._open(task.node)[task.id] = changed
        return changed

    def adopt(self, task: Task, successor: str, why: str) -> AssignedTask:
        """Name the successor in place of the task that it follows."""
        assert task.assigned is not None, "only an assigned task can have a successor"
        changed = msgspec.structs.replace(task.assigned, id=successor, why=why, cause=f"task.ended/{task.id}")
        tasks = self._open(task.node)
        del tasks[task.id]
        tasks[successor] = changed
        return changed

    def drop(self, task: Task) -> None:
        """Name the task no more: its end was seen."""
        self._open(task.node).pop(task.id, None)

    def prepare(self, node: str, service: str, name: str, spec: TaskSpec) -> None:
        """Have the node get ready for tasks of the service with that spec; `name` is the spec hash."""
        if self.prepared(node).get(service) != name:
            self._open(node)
            self._prepare[node][service] = name
            self._specs[node][name] = spec

    def unprepare(self, node: str, service: str) -> None:
        """No more."""
        if service in self.prepared(node):
            self._open(node)
            del self._prepare[node][service]

    def changes(self) -> tuple[PutAssignment, ...]:
        """The assignments to write."""
        found = []
        for node in sorted(self._tasks, key=lambda name: (name in self._grown, name)):
            record = self._record(node)
            stored = self._world.assignments.get(node)
            if stored is None or _content(record) != _content(stored.record):
                found.append(PutAssignment(node, record))
        return tuple(found)

    def _open(self, node: str) -> dict[str, AssignedTask]:
        if node not in self._tasks:
            stored = self._world.assignments.get(node)
            self._tasks[node] = {task.id: task for task in stored.record.tasks} if stored is not None else {}
            self._specs[node] = dict(stored.record.specs) if stored is not None else {}
            self._prepare[node] = dict(stored.record.prepare) if stored is not None else {}
        return self._tasks[node]

    def _record(self, node: str) -> Assignment:
        tasks = tuple(sorted(self._tasks[node].values(), key=lambda task: (task.service, task.slot, task.id)))
        prepare = dict(sorted(self._prepare[node].items()))
        used = {*(task.spec for task in tasks), *prepare.values()}
        specs = {name: spec for name, spec in sorted(self._specs[node].items()) if name in used}
        world = self._world
        return Assignment(
            node=node, epoch=world.epoch, generation=world.generation, tasks=tasks, specs=specs, prepare=prepare
        )

    def prepared(self, node: str) -> Mapping[str, str]:
        """Service -> spec hash, of what the node gets ready."""
        if node in self._prepare:
            return self._prepare[node]
        stored = self._world.assignments.get(node)
        return stored.record.prepare if stored is not None else {}


def _content(record: Assignment) -> tuple[object, ...]:
    return (record.tasks, record.specs, record.prepare)
