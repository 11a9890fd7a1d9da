"""Answers what this agent obeys: of that a lost or rolled-back store is rebuilt (`meshctl state recover`).

What it only keeps, for want of a word that it should end, is told as obeyed where its spec is known: else the new store
would be that word. A successor that runs is told in place of the task that it follows: what the mesh has observed may
show only the end of that, and a leader that drops it would end the successor, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from agent.assignments import Assignments
from agent.ledger import Ledger
from agent.local import LocalTask
from agent.membership import Membership
from agent.network.model import View
from agent.observing import Observer
from agent.uptimes import Uptimes
from agent.wants import KEEP, Wanted, stands_for
from schemas import subjects
from schemas.assignment import AssignedTask, Assignment
from schemas.nodeapi import AssignmentView, ReadAssignment


class HeldDesk:
    """assignment."""

    def __init__(
        self,
        node: str,
        boot: str,
        labels: Mapping[str, str],
        membership: Membership,
        assignments: Assignments,
        observer: Observer,
        uptimes: Uptimes,
        networks: Callable[[], View],
        ledger: Ledger,
        wanted: Callable[[], Mapping[str, Wanted]],
    ) -> None:
        self._node = node
        self._boot = boot
        self._labels = dict(labels)
        self._membership = membership
        self._assignments = assignments
        self._observer = observer
        self._uptimes = uptimes
        self._networks = networks
        self._ledger = ledger
        self._wanted = wanted

    async def read(self, request: ReadAssignment) -> AssignmentView:
        """The assignment obeyed now, with the pair that identifies it."""
        if request.observe:
            self._observer.send_again()
        networks = self._networks()
        sequences = networks.sequences
        return AssignmentView(
            node=self._node,
            instance=self._membership.identity.instance,
            mesh_id=self._membership.identity.mesh_id,
            boot=self._boot,
            applied=self._assignments.applied,
            assignment=self._told(),
            labels=self._labels,
            allocations=dict(networks.allocations),
            allotted={name: sequences.get(subjects.allocation_key(name), 0) for name in networks.allocations},
            publish=networks.publish,
            published=sequences.get(subjects.PUBLISH, 0),
            networks_known=networks.highest,
            up=self._uptimes.told(),
        )

    def _told(self) -> Assignment | None:
        held, local, wanted = self._assignments.held, self._ledger.tasks, self._wanted()
        if held is None:
            return None
        assignment = with_successors(held.assignment, local, wanted)
        return assignment if self._assignments.confirmed else with_kept(assignment, local, wanted)


def with_successors(assignment: Assignment, local: Mapping[str, LocalTask], wanted: Mapping[str, Wanted]) -> Assignment:
    """The assignment, with each task that has ended replaced by the successor that runs in its place."""
    named = [task.id for task in assignment.tasks]
    mine = (id_ for id_, want in wanted.items() if want.intent == "run")
    running = {stands_for(id_, named): id_ for id_ in mine if _runs(local.get(id_))}
    tasks = (msgspec.structs.replace(task, id=running.get(task.id, task.id)) for task in assignment.tasks)
    return msgspec.structs.replace(assignment, tasks=tuple(tasks))


def _runs(task: LocalTask | None) -> bool:
    return task is not None and task.started and not task.ended


def with_kept(assignment: Assignment, local: Mapping[str, LocalTask], wanted: Mapping[str, Wanted]) -> Assignment:
    """The assignment, and what runs that it does not name, in slots where nothing runs that it names."""
    running = {id_: task for id_, task in local.items() if _runs(task)}
    taken = {(task.service, task.slot) for task in assignment.tasks if task.id in running}
    found = sorted((task for task in running.values() if wanted.get(task.id) == KEEP), key=_age)
    kept = {(task.service, task.slot): task for task in found if task.spec in assignment.specs}
    added = {slot: task for slot, task in kept.items() if slot not in taken}
    stays = (task for task in assignment.tasks if (task.service, task.slot) not in added)
    return msgspec.structs.replace(assignment, tasks=(*stays, *map(_as_assigned, added.values())))


def _age(task: LocalTask) -> tuple[int, int, str]:
    return task.revision, len(task.id), task.id


def _as_assigned(task: LocalTask) -> AssignedTask:
    return AssignedTask(
        id=task.id,
        service=task.service,
        slot=task.slot,
        revision=task.revision,
        spec=task.spec,
        stack=task.stack,
        cause=task.cause,
    )
