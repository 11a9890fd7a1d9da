"""Brings this node to its assignment: a worker per task, woken by the engine's events and by a full list.

It begins with a list of all containers of this mesh and node, and adopts them: restarting the agent touches none.
It ends what is to end and what no assignment names; it never touches a container without the labels of its owner.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from types import MappingProxyType
from typing import cast

import msgspec
import structlog

from agent.desk import Desk
from agent.engine.labels import LABEL_INIT, LABEL_SERVICE, LABEL_SLOT, LABEL_TASK, Owner
from agent.engine.model import Container, EngineEvent, EventGap
from agent.guards import guarded
from agent.local import LocalTask, is_successor, local_task, task_of_container
from agent.pre_start import is_init, orphaned_inits
from agent.wants import END, KEEP, Wanted, forgettable, stands_for, wanted_tasks
from agent.worker import Worker
from schemas.assignment import AssignedTask, Assignment, container_name
from schemas.errors import MeshError

LIST_EVERY = 10.0
"""Seconds between two full lists while nothing asks for one earlier."""
PROBE_EVERY = 1.0
"""Seconds between two attempts while the engine does not answer."""

log = structlog.get_logger()


class Reconciler:
    """All workers of one node."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._assignment: Assignment | None = None
        self._frozen = False
        self._confirmed = False
        self._wanted: dict[str, Wanted] = {}
        self._kept: frozenset[str] = frozenset()
        self._workers: dict[str, Worker] = {}
        self._group: asyncio.TaskGroup | None = None
        self._listed = asyncio.Event()
        self.containers: tuple[Container, ...] = ()
        """All of this owner's, as of the last full list."""
        self.orphaned: tuple[Container, ...] = ()
        """Containers of what runs before tasks that nobody knows any more."""
        self.left_alone: tuple[Container, ...] = ()
        """With the labels of a task, and not made for one."""
        self.event_listeners: list[Callable[[EngineEvent], None]] = []
        self.list_listeners: list[Callable[[], None]] = []

    @property
    def wanted(self) -> Mapping[str, Wanted]:
        """What is wanted of every known task."""
        return MappingProxyType(self._wanted)

    @property
    def owner(self) -> Owner:
        """Whose containers these are."""
        return self._desk.owner

    def wake(self, task: str) -> None:
        """Have the task's worker look what is to be done."""
        if (worker := self._workers.get(task)) is not None:
            worker.look_again()

    @property
    def assignment(self) -> Assignment | None:
        """What is obeyed now."""
        return self._assignment

    @property
    def frozen(self) -> bool:
        """Whether everything is kept as it is."""
        return self._frozen

    @property
    def knows(self) -> bool:
        """Whether what the assignment does not name is to end."""
        return self._assignment is not None and not self._frozen and self._confirmed

    def apply(self, assignment: Assignment | None, *, frozen: bool = False, confirmed: bool = True) -> None:
        """Obey this from now on. None: there is none yet: keep what runs. Not `confirmed`: it may be an older one."""
        self._assignment, self._frozen, self._confirmed = assignment, frozen, confirmed
        self.refresh()

    def refresh(self) -> None:
        """Think again about what is wanted of each task, and wake those for which that changes."""
        if not self._listed.is_set():
            return
        ledger = self._desk.ledger
        assignment = None if self._frozen else self._assignment
        for task in assignment.tasks if assignment else ():
            if task.id not in ledger.tasks:
                spec = assignment.specs.get(task.spec) if assignment else None
                after = spec.stop_after if spec is not None else 0.0
                ledger.put(local_task(task, self._desk.clock.wall(), stop_after=after))
        self._wanted = self._want()
        self._tell_kept()
        self._name_predecessors()
        for id_ in list(ledger.tasks):
            self._employ(id_, None)
        self.forget()

    def _want(self) -> dict[str, Wanted]:
        tasks, standing = self._desk.ledger.tasks, self._desk.leases.standing
        return wanted_tasks(self._assignment, tasks, frozen=self._frozen, confirmed=self._confirmed, standing=standing)

    def lease_lengths(self) -> Iterable[float]:
        """`stop_after` of all that is assigned or here."""
        assigned = self._assignment.specs.values() if self._assignment is not None else ()
        return {spec.stop_after for spec in assigned}.union(
            task.stop_after for task in self._desk.ledger.tasks.values()
        )

    def _tell_kept(self) -> None:
        """Say once what runs by no word but that nobody has said that it should not."""
        tasks = self._desk.ledger.tasks
        kept = frozenset(id_ for id_, want in self._wanted.items() if want == KEEP and not tasks[id_].ended)
        if self._assignment is not None and not self._frozen and kept - self._kept:
            log.warning("tasks.kept", tasks=sorted(kept), why="the store has not confirmed the assignment of the disk")
        self._kept = kept

    def _name_predecessors(self) -> None:
        named = [id_ for id_, want in self._wanted.items() if want.named]
        for task in list(self._desk.ledger.tasks.values()):
            holds = stands_for(task.id, named) if is_successor(task.id) and task.id not in named else ""
            if holds and holds != task.predecessor:
                self._desk.ledger.put(msgspec.structs.replace(task, predecessor=holds))

    def forget(self) -> None:
        """Drop tasks that are history: nobody names them, and the mesh has seen their end."""
        if not self.knows:
            return
        gone = forgettable(self._desk.ledger.tasks.values(), self._wanted)
        self._desk.ledger.forget(gone)
        for id_ in gone:
            self._wanted.pop(id_, None)
            worker = self._workers.pop(id_, None)
            if worker:
                worker.wake()

    def start_successor(self, task: AssignedTask, predecessor: str) -> None:
        """Take up a task that no assignment names yet, in the place of one that has ended."""
        self._desk.ledger.put(local_task(task, self._desk.clock.wall(), predecessor))
        self.refresh()

    def _employ(self, task: str, view: Container | None) -> None:
        """Give the task its worker, and tell it what is wanted."""
        worker = self._workers.get(task)
        wanted = self._wanted.get(task, END if self.knows else KEEP)
        if worker is None:
            if self._group is None:
                return
            worker = self._workers[task] = Worker(self._desk, task, view)
            self._group.create_task(worker.run(), name=f"task-{task}")
        worker.want(wanted, epoch=self._assignment.epoch if self._assignment else 0)

    async def run(self) -> None:
        """Work for ever."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            group.create_task(guarded("engine-list", self._keep_listing))
            group.create_task(guarded("engine-events", self._hear))

    async def _keep_listing(self) -> None:
        while True:
            pause = LIST_EVERY if await self._list() else PROBE_EVERY
            await self._desk.health.suspicion(pause)

    async def _list(self) -> bool:
        try:
            containers = await self._desk.engine.containers(self._desk.owner)
        except MeshError as error:
            self._desk.health.lost(str(error))
            return False
        self._take_over(containers)
        self._desk.health.back()
        for listener in self.list_listeners:
            listener()
        return True

    def _take_over(self, containers: Sequence[Container]) -> None:
        """Adopt what is there, and let each worker compare."""
        named = {task.id for task in self._assignment.tasks} if self._assignment else set()
        inits = [one for one in containers if is_init(one)]
        containers = [one for one in containers if not is_init(one)]
        self.containers = tuple(one for one in containers if made_for_a_task(one, self._desk.ledger.tasks, named))
        self._leave_alone(containers)
        by_task = {container.labels.get(LABEL_TASK, ""): container for container in self.containers}
        for id_, container in sorted(by_task.items()):
            if id_ in self._desk.ledger.tasks or not (container.alive or _unstarted(container) or id_ in named):
                continue
            task = task_of_container(container, self._desk.clock.wall())
            if task is not None:
                log.info("task.adopted", task=id_, container=container.id, state=container.state)
                self._desk.ledger.put(task)
        first = not self._listed.is_set()
        self._listed.set()
        if first:
            self._wanted = self._want()
            for id_ in list(self._desk.ledger.tasks):
                self._employ(id_, by_task.get(id_))
        self.refresh()
        self.orphaned = orphaned_inits(inits, self._desk.ledger.tasks)
        for id_, worker in list(self._workers.items()):
            worker.listed(by_task.get(id_))

    def _leave_alone(self, containers: Sequence[Container]) -> None:
        others = tuple(container for container in containers if container not in self.containers)
        known = {container.id for container in self.left_alone}
        for one in sorted(others, key=lambda container: container.id):
            if one.id not in known:
                log.warning(
                    "container.left_alone", container=one.id, name=one.name, why="labels of a task, not its name"
                )
        self.left_alone = others

    async def _hear(self) -> None:
        """The engine's events only wake: what they say is looked up."""
        stream = self._desk.engine.events(self._desk.owner)
        async with aclosing(cast("AsyncGenerator[EngineEvent | EventGap, None]", stream)) as events:
            async for event in events:
                match event:
                    case EventGap():
                        self._desk.health.suspect()
                    case EngineEvent(labels=labels):
                        for listener in self.event_listeners:
                            listener(event)
                        worker = self._workers.get(labels.get(LABEL_TASK) or labels.get(LABEL_INIT, ""))
                        if worker:
                            worker.look_again()
                        elif event.action == "start":
                            self._desk.health.suspect()


def made_for_a_task(container: Container, local: Mapping[str, LocalTask], named: Collection[str]) -> bool:
    """Whether an agent made this container, which carries this owner's labels.

    An image committed from a container hands its labels on to whatever somebody starts from it. What an agent made
    has the task's name as well; one that was renamed is known by its id, or by an assignment alone.
    """
    labels = container.labels
    id_ = labels.get(LABEL_TASK, "")
    if container.name == container_name(labels.get(LABEL_SERVICE, ""), labels.get(LABEL_SLOT, ""), id_):
        return True
    known = local.get(id_)
    return known.container == container.id if known is not None else id_ in named


def _unstarted(container: Container) -> bool:
    return container.state == "created" and not container.error
