"""Which records a store is made anew of: from a backup (or what is left of the store) and from what agents obey. Pure.

Assignments come from the agents, since nothing that runs may be stopped; the backup's stand in, marked provisional,
for nodes that are silent now. Intent comes from the backup; with `rebuild` what the agents show to be newer goes
before it: services and revisions that the backup does not know, more slots than it wants. Progress is kept where the
intent stands that it answers (`_answering_nothing`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from meshctl.backup import decoded
from meshctl.evidence import Known
from meshctl.rebuilding import Rebuilt, rebuilt_services, shortfalls
from meshctl.rebuilding_members import rebuilt_members
from meshctl.rebuilding_networks import rebuilt_networks
from schemas import subjects
from schemas.assignment import Assignment
from schemas.backup import Backup, BackupHead, BackupRecord
from schemas.errors import BadMessage, Refused
from schemas.network import AllocationRecord, NetworkRecord
from schemas.nodeapi import AssignmentView
from schemas.records import (
    LivenessRecord,
    MeshRecord,
    NodeRecord,
    RevisionRecord,
    RolloutRecord,
    ServiceRecord,
    StackRecord,
)
from schemas.stacks import StackGoodRecord
from schemas.task_ids import lineage
from schemas.wire import encode

MARGIN = 1_000_000
"""How far above the highest sequence known the new store begins: a silent controller may have seen more, and its mirror
goes no way back. A leader that counts leases writes every 3 s: that is a month for which nobody else was heard."""

LEFT_OUT = frozenset({subjects.MESH, subjects.BRAKE, subjects.EVENTS_CURSOR})
LEFT_OUT_KINDS = frozenset({"election", "order", "desired"})
"""What is made anew, belongs to a reign that is over, or must not be carried out twice."""


@dataclass(frozen=True)
class Found:
    """What answers now, and the furthest that anything knows of."""

    views: Mapping[str, AssignmentView] = field(default_factory=dict)
    """Node -> what its agent obeys."""
    silent: frozenset[str] = frozenset()
    """Nodes known by name that do not answer."""
    seen: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Service -> slots that silent nodes were last seen to run (their observations), if they obeyed what is newer than
    the backup."""
    highest: tuple[int, int] = (0, 0)
    """(the highest generation, the highest sequence) that a store, agent or controller was heard to know."""
    mesh_id: str = ""
    """As agents and controllers say."""
    leader: str = ""
    """A controller that leads and finds nothing wrong with the store."""


@dataclass(frozen=True)
class NewRecord:
    """One record to write. `why` "": as it stands in the backup."""

    key: str
    value: bytes
    why: str = ""


@dataclass(frozen=True)
class Recovery:
    """What is to be done."""

    mesh: MeshRecord
    first_sequence: int
    records: tuple[NewRecord, ...]
    """In the order in which they are written; the cursor of told events and the mesh record follow them."""
    warnings: tuple[str, ...] = ()


@dataclass
class _Base:
    """The backup's records, decoded where they are looked into."""

    verbatim: dict[str, bytes] = field(default_factory=dict)
    services: dict[str, ServiceRecord] = field(default_factory=dict)
    revisions: dict[tuple[str, int], RevisionRecord] = field(default_factory=dict)
    stacks: dict[str, StackRecord] = field(default_factory=dict)
    nodes: dict[str, NodeRecord] = field(default_factory=dict)
    liveness: dict[str, LivenessRecord] = field(default_factory=dict)
    assignments: dict[str, Assignment] = field(default_factory=dict)
    networks: dict[str, NetworkRecord] = field(default_factory=dict)
    allocations: dict[str, AllocationRecord] = field(default_factory=dict)
    rollouts: dict[str, RolloutRecord] = field(default_factory=dict)
    stack_good: dict[str, StackGoodRecord] = field(default_factory=dict)
    sequences: dict[str, int] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)


def plan_recovery(backup: Backup | None, found: Found, *, rebuild: bool, why: str, now: float) -> Recovery:
    """The new store. `why`: what it is made from, in words. `now`: seconds since 1970.

    Raises:
        Refused: it is not known which mesh this is, or backup and agents are of different ones.
    """
    base = _read(backup.records if backup else ())
    mesh_id = _mesh_id(backup, found)
    head = backup.head if backup else BackupHead()
    generation = max(found.highest[0], head.generation) + 1
    first = max(found.highest[1], head.sequence) + MARGIN
    warnings = [f"{what}: left out, it can't be read" for what in base.unread]
    rebuilt = Rebuilt()
    held = {node: view.assignment for node, view in found.views.items() if view.assignment is not None}
    unfounded = _answering_nothing(base)
    known = _known(base, unfounded)
    if rebuild:
        rebuilt = rebuilt_services(known, held.values(), found.silent, now, found.seen, _uptimes(found))
    else:
        warnings += shortfalls(base.services, held.values())
    networks = rebuilt_networks(base.networks, base.allocations, base.sequences, found.views.values(), intent=rebuild)
    members = rebuilt_members(base.nodes, base.sequences, base.liveness, known, found.views, now, intent=rebuild)
    anew = {**rebuilt.records, **networks.records, **members.records}
    changed = {key: NewRecord(key, encode(record), why) for key, (record, why) in anew.items()}
    over = {*changed, *unfounded, *rebuilt.over, *networks.over, *members.over}
    verbatim = (NewRecord(key, value) for key, value in base.verbatim.items() if key not in over)
    records = (
        *verbatim,
        *changed.values(),
        *_assignments(base, found, held, generation),
    )
    warnings += [*rebuilt.warnings, *networks.warnings, *members.warnings, *_idle(base, rebuilt, held.values(), found)]
    warnings += _forgotten(base, rebuilt)
    warnings += [f"node {node} does not answer: {_of_silent(node, base)}" for node in sorted(found.silent)]
    mesh = MeshRecord(mesh_id=mesh_id, generation=generation, created_at=max(0.0, now), why=why)
    return Recovery(mesh, first, tuple(records), tuple(warnings))


def _read(records: Iterable[BackupRecord]) -> _Base:
    base = _Base()
    tables: dict[type, dict[str, Any]] = {
        ServiceRecord: base.services,
        StackRecord: base.stacks,
        NodeRecord: base.nodes,
        LivenessRecord: base.liveness,
        Assignment: base.assignments,
        NetworkRecord: base.networks,
        AllocationRecord: base.allocations,
        RolloutRecord: base.rollouts,
        StackGoodRecord: base.stack_good,
    }
    for record in records:
        noun, _, name = record.key.partition(".")
        try:
            value = decoded(record)
        except BadMessage:
            base.unread.append(record.key)
            continue
        base.sequences[record.key] = record.sequence
        if isinstance(value, RevisionRecord):
            base.revisions[name.rpartition(".")[0], value.number] = value
        elif type(value) in tables:
            tables[type(value)][name] = value
        if record.key not in LEFT_OUT and noun not in LEFT_OUT_KINDS:
            base.verbatim[record.key] = record.content
    return base


def _known(base: _Base, unfounded: frozenset[str]) -> Known:
    rollouts = {name: each for name, each in base.rollouts.items() if subjects.rollout_key(name) not in unfounded}
    return Known(base.services, base.revisions, base.stacks, rollouts, base.assignments)


def _uptimes(found: Found) -> dict[str, float]:
    """Task -> the longest time for which it was up; a successor speaks for the task that the leader gave."""
    told = ((lineage(task), seconds) for view in found.views.values() for task, seconds in view.up.items())
    return dict(sorted(told, key=lambda each: each[1]))


def _answering_nothing(base: _Base) -> frozenset[str]:
    """The keys of a leader's progress with services, deploys and stacks that the base does not have.

    A store that was rolled back may have taken one more round of its leader: progress without the intent that it
    answers. It would stand for good, and be taken for that of the next deploy, which counts on from what the base has,
    and so gets the same number: that would be told to have failed, or to be done, before it began.
    """
    rollouts = {
        subjects.rollout_key(name)
        for name, rollout in base.rollouts.items()
        if name not in base.services or rollout.deploy > base.services[name].deploy
    }
    stacks = {
        subjects.stack_good_key(name)
        for name, noted in base.stack_good.items()
        if name not in base.stacks or max(noted.good, default=0) > base.stacks[name].revision
    }
    return frozenset(rollouts | stacks)


def _mesh_id(backup: Backup | None, found: Found) -> str:
    told = {found.mesh_id, *(view.mesh_id for view in found.views.values())} - {""}
    if backup is not None and told - {backup.head.mesh_id}:
        others = ", ".join(sorted(told - {backup.head.mesh_id}))
        raise Refused(f"the backup is of mesh {backup.head.mesh_id}, the machines here are of {others}")
    if backup is not None:
        return backup.head.mesh_id
    if len(told) != 1:
        names = ", ".join(sorted(told)) or "nobody says"
        raise Refused(f"it is not known which mesh this is ({names})", hint="name a backup: --backup FILE")
    return told.pop()


def _assignments(base: _Base, found: Found, held: Mapping[str, Assignment], generation: int) -> Iterable[NewRecord]:
    for node in sorted({*held, *base.assignments}):
        key = subjects.desired_key(node)
        if node in held:
            record = msgspec.structs.replace(held[node], generation=generation, provisional=False)
            yield NewRecord(key, encode(record), f"its agent obeys it: {len(record.tasks)} tasks")
        elif node in found.views:
            record = msgspec.structs.replace(base.assignments[node], generation=generation, provisional=False)
            yield NewRecord(key, encode(record), "its agent obeys none; the backup's")
        else:
            record = msgspec.structs.replace(base.assignments[node], generation=generation, provisional=True)
            yield NewRecord(key, encode(record), "its agent does not answer: the backup's, until it does")


def _idle(base: _Base, rebuilt: Rebuilt, held: Iterable[Assignment], found: Found) -> Iterable[str]:
    """Services of the backup that can't be started, and those that nobody runs: they may have been removed since."""
    running = {task.service for assignment in held for task in assignment.tasks}
    running |= {task.service for node in found.silent for task in _tasks(base.assignments.get(node))}
    for name, service in sorted(base.services.items()):
        if service.removed:
            continue
        record, _ = rebuilt.records.get(subjects.service_key(name), (service, ""))
        number = record.target if isinstance(record, ServiceRecord) else service.target
        if (name, number) not in base.revisions and subjects.revision_key(name, number) not in rebuilt.records:
            yield f"service {name}: its revision {number} is not in the backup, and no node shows it; deploy it again"
        elif service.replicas and name not in running and found.views:
            yield f"service {name}: no node that answers runs it; it will be started as the backup says"


def _forgotten(base: _Base, rebuilt: Rebuilt) -> Iterable[str]:
    """Services of which only progress is left."""
    for name in sorted(base.rollouts.keys() - base.services.keys()):
        if subjects.service_key(name) not in rebuilt.records:
            yield f"service {name}: only how far it had come is left, not what was wanted of it; deploy it again"


def _tasks(assignment: Assignment | None) -> Iterable[Any]:
    return assignment.tasks if assignment is not None else ()


def _of_silent(node: str, base: _Base) -> str:
    count = len(list(_tasks(base.assignments.get(node))))
    if node in base.assignments:
        return f"the backup knows of {count} tasks there; what it obeys is asked for when it is back"
    return "what it obeys is asked for when it is back"
