"""What agents' assignments show of services, and what a backup has of them to compare that with. Pure.

A backup is older than what agents obey. What proves so: a task that its own assignments do not know was made since.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from schemas.assignment import AssignedTask, Assignment
from schemas.records import RevisionRecord, RolloutRecord, ServiceRecord, StackRecord
from schemas.spec import Mode, TaskSpec
from schemas.task_ids import age, lineage

Seen = Mapping[str, frozenset[str]]
"""Service -> slots that silent nodes were last seen to run."""


@dataclass(frozen=True)
class Running:
    """What assignments show of one service. Tasks that are being ended do not count."""

    tasks: tuple[AssignedTask, ...]
    nodes: tuple[str, ...]
    newest: AssignedTask
    specs: Mapping[str, TaskSpec]
    """By their hash: those of all tasks."""
    complete: bool = True
    """Whether all nodes were asked: else slots may be missing, and the highest number counts."""
    seen: frozenset[str] = frozenset()
    """Slots that silent nodes were last seen to run."""
    known: frozenset[str] = frozenset()
    """Slots that the backup has tasks in: with no others, nothing tells of more than run on nodes that answer, or were
    seen since. What it has on a node that is down was given to others, or scaled away."""
    told: frozenset[str] = frozenset()
    """Slots on nodes that answer."""
    up: Mapping[str, float] = field(default_factory=dict)
    """Task (of successors the first) -> the longest time for which its agent has seen it up."""

    @property
    def spec(self) -> TaskSpec:
        """That of the newest."""
        return self.specs[self.newest.spec]

    @property
    def mode(self) -> Mode:
        """A global service's slots are called like their nodes."""
        return "replicated" if all(task.slot.isdecimal() for task in self.tasks) else "global"

    @property
    def slots(self) -> int:
        """How many there are, as far as can be told."""
        names = {task.slot for task in self.tasks} | self.seen
        highest = max((int(name) for name in names if name.isdecimal()), default=0)
        if self.complete:
            return len(names)
        return len(self.told | self.seen) if names <= self.known else max(len(names), highest)

    @property
    def reached(self) -> int:
        """Slots with a task of the newest spec, where others have none; 0: all have one."""
        slots = {task.slot for task in self.tasks if task.spec == self.newest.spec}
        return len(slots) if {task.slot for task in self.tasks} - slots else 0


@dataclass(frozen=True)
class Known:
    """What the backup has."""

    services: Mapping[str, ServiceRecord] = field(default_factory=dict)
    revisions: Mapping[tuple[str, int], RevisionRecord] = field(default_factory=dict)
    stacks: Mapping[str, StackRecord] = field(default_factory=dict)
    rollouts: Mapping[str, RolloutRecord] = field(default_factory=dict)
    """Those that are kept."""
    assignments: Mapping[str, Assignment] = field(default_factory=dict)

    @cached_property
    def tasks(self) -> frozenset[str]:
        """All that it has assigned; of successors the first."""
        return frozenset(lineage(task.id) for each in self.assignments.values() for task in each.tasks)

    @cached_property
    def slots(self) -> Mapping[str, frozenset[str]]:
        """Service -> slots with a task that is to run."""
        found: dict[str, set[str]] = {}
        for task in (task for each in self.assignments.values() for task in each.tasks if task.desired == "running"):
            found.setdefault(task.service, set()).add(task.slot)
        return {service: frozenset(slots) for service, slots in found.items()}

    def ran(self, service: str, revision: int, nodes: Iterable[str]) -> bool:
        """Whether one of these nodes had a task of that revision."""
        assigned = (task for node in nodes if node in self.assignments for task in self.assignments[node].tasks)
        return any((task.service, task.revision, task.desired) == (service, revision, "running") for task in assigned)

    def knows(self, tasks: Iterable[AssignedTask]) -> bool:
        """Whether none of them was made since."""
        return all(lineage(task.id) in self.tasks for task in tasks)


def running_services(
    held: Iterable[Assignment],
    *,
    silent: Iterable[Assignment] = (),
    complete: bool = True,
    seen: Seen | None = None,
    known: Known | None = None,
    up: Mapping[str, float] | None = None,
) -> dict[str, Running]:
    """Service -> what runs of it. `silent`: the backup's word for nodes that do not answer: older than what is held."""
    tasks: dict[str, list[tuple[bool, AssignedTask, str, TaskSpec]]] = {}
    for asked, assignment in (*((True, each) for each in held), *((False, each) for each in silent)):
        for task in assignment.tasks:
            if task.desired == "running" and task.spec in assignment.specs:
                entry = (asked, task, assignment.node, assignment.specs[task.spec])
                tasks.setdefault(task.service, []).append(entry)
    found = {}
    for service, each in sorted(tasks.items()):
        newest = _newest((asked, task) for asked, task, _, _ in each)
        found[service] = Running(
            tuple(task for _, task, _, _ in each),
            tuple(sorted({node for _, _, node, _ in each})),
            newest,
            {task.spec: spec for _, task, _, spec in each},
            complete,
            (seen or {}).get(service, frozenset()),
            known.slots.get(service, frozenset()) if known is not None else frozenset(),
            frozenset(task.slot for asked, task, _, _ in each if asked),
            up or {},
        )
    return found


def _newest(tasks: Iterable[tuple[bool, AssignedTask]]) -> AssignedTask:
    """That of the latest revision, among the youngest of each slot: an agent that was away may still obey what was
    replaced, and a roll-back has replaced it with an earlier one. Those of nodes that answer (True) go before."""
    slots: dict[str, tuple[bool, AssignedTask]] = {}
    for one in sorted(tasks, key=lambda one: (one[0], age(one[1].id), one[1].hold, one[1].id)):
        slots[one[1].slot] = one
    return max(slots.values(), key=lambda one: (one[0], one[1].revision, one[1].hold, one[1].id))[1]
