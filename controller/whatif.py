"""What would come of it: the leader's own `plan`, round after round, on a copy of what is known.

Agents are taken to do at once what they are told, and everything to come up: nothing fails, so update policies say only
in which order tasks are replaced. Delays, `monitor` and deadlines are left out; they change no placement. Pure: nothing
here waits or writes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from controller.changes import Change, DropRollout, PutAssignment, PutRollout
from controller.plan import plan
from controller.work import slot_key
from controller.world import Dirty, Heard, Stored, World
from schemas import subjects
from schemas.assignment import Applied, AssignedTask
from schemas.observation import Observation, ObservedTask
from schemas.planapi import PlannedTask
from schemas.records import Reason, RevisionRecord
from schemas.spec import Mount
from schemas.wire import Wire

TABLES = {
    "desired": "assignments",
    "rollout": "rollouts",
    "liveness": "liveness",
    "alloc": "allocations",
    "endpoints": "endpoints",
    "stackgood": "stack_good",
}
"""First token of the key of a decision -> where it stands in a `World`."""

SINGLE = {subjects.BRAKE: "brake", subjects.PUBLISH: "publish"}

LONG_AGO = 10_000.0
QUIET_ROUNDS = 8
"""After so many rounds without a change, each a longer time after the one before, nothing more will come."""

FIRST_PAUSE = 0.5


@dataclass
class Foresight:
    """A world that goes on by itself, `step` by step."""

    world: World
    services: frozenset[str]
    now: float
    settled: bool = False
    _before: dict[str, tuple[str, AssignedTask]] = field(default_factory=dict)
    _ended: dict[str, tuple[str, AssignedTask]] = field(default_factory=dict)
    _quiet: int = 0

    def step(self) -> bool:
        """One round and what the agents make of it; False: nothing more comes."""
        self.world = heard_now(self.world, self.now)
        decided = plan(self.world, Dirty(services=self.services), self.now)
        self.world = _after(self.world, decided.changes, decided.minted)
        self._note(decided.changes)
        moved = any(isinstance(change, PutAssignment | PutRollout | DropRollout) for change in decided.changes)
        self._quiet = 0 if moved else self._quiet + 1
        self.now += FIRST_PAUSE * 2**self._quiet
        self.settled = self._quiet >= QUIET_ROUNDS or (not moved and self._done())
        return not self.settled

    @property
    def starts(self) -> tuple[PlannedTask, ...]:
        """The tasks of the services that would be new."""
        after = _tasks(self.world, self.services)
        return _planned((node, task) for id_, (node, task) in after.items() if id_ not in self._before)

    @property
    def ends(self) -> tuple[PlannedTask, ...]:
        """The tasks of the services that run now and would end."""
        return _planned(each for id_, each in self._ended.items() if id_ in self._before)

    def waits(self, service: str) -> tuple[Reason, ...]:
        """Why slots of a service would go on waiting."""
        rollout = self.world.rollouts.get(service)
        return rollout.reasons if rollout is not None and rollout.phase != "done" else ()

    def _done(self) -> bool:
        for name in self.services:
            stored, rollout = self.world.services.get(name), self.world.rollouts.get(name)
            if stored is None or (stored.record.removed and rollout is None):
                continue
            if rollout is None or rollout.phase == "converging" or rollout.intent != stored.sequence:
                return False
        return True

    def _note(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if isinstance(change, PutAssignment):
                for task in change.record.tasks:
                    if task.desired == "shutdown" and task.service in self.services:
                        self._ended.setdefault(task.id, (change.node, task))


def foresee(world: World, records: Iterable[tuple[str, Wire | None]], services: Iterable[str], now: float) -> Foresight:
    """The world as it would be with these `records` written; nothing was decided yet. `now`: stream time."""
    changed = _with_records(world, records)
    named = frozenset(services)
    revisions = {key: _timeless(each) if key[0] in named else each for key, each in changed.revisions.items()}
    fresh = replace(
        changed,
        epoch=world.epoch + 1,
        minted=0,
        revisions=revisions,
        orders={},
        rebalance=None,
        unseen_since=None,
    )
    fresh = replace(fresh, observations={name: _up(fresh, seen) for name, seen in fresh.observations.items()})
    return Foresight(fresh, named, now, _before=_tasks(world, named))


def _with_records(world: World, records: Iterable[tuple[str, Wire | None]]) -> World:
    """Intent that is to be written, as if it stood already."""
    tables: dict[str, dict[Any, Any]] = {
        "service": dict(world.services),
        "revision": dict(world.revisions),
        "stack": dict(world.stacks),
        "network": dict(world.networks),
    }
    sequence = max((stored.sequence for stored in world.services.values()), default=0) + 1_000_000
    for key, record in records:
        noun, _, name = key.partition(".")
        if noun not in tables or record is None:
            continue
        if noun == "revision":
            service, _, number = name.rpartition(".")
            tables[noun][service, int(number)] = record
        else:
            tables[noun][name] = Stored(record, sequence)
    return replace(
        world,
        services=tables["service"],
        revisions=tables["revision"],
        stacks=tables["stack"],
        networks=tables["network"],
    )


def _timeless(revision: RevisionRecord) -> RevisionRecord:
    """The same without times: what they wait for is that something fails."""
    spec = revision.spec
    update = msgspec.structs.replace(spec.update, monitor=0.0, delay=0.0)
    back = msgspec.structs.replace(spec.rollback, monitor=0.0, delay=0.0)
    spec = msgspec.structs.replace(spec, update=update, rollback=back, progress_deadline=0.0)
    return msgspec.structs.replace(revision, spec=spec)


def heard_now(world: World, now: float) -> World:
    """Each node that is not down was heard just now, whoever asks: a controller that does not lead hears nobody."""
    heard: dict[str, Heard] = {}
    for name, verdict in world.liveness.items():
        stored, seen = world.nodes.get(name), world.observations.get(name)
        if verdict.verdict == "down" or stored is None or seen is None:
            continue
        heard[name] = Heard(
            at=now,
            instance=stored.record.instance,
            boot=seen.boot,
            engine=verdict.why if verdict.verdict == "not-ready" else "",
            applied=(world.generation, seen.applied.sequence),
            observed=seen.counter,
        )
    return replace(world, heard=heard, took_over=now - LONG_AGO, hearing_since=now - LONG_AGO)


def _after(world: World, changes: Iterable[Change], minted: int) -> World:
    """The world as the stream shows it after a round, and the agents having done what it says."""
    fields: dict[str, Any] = {name: dict(getattr(world, name)) for name in TABLES.values()}
    sequence = max((stored.sequence for stored in world.assignments.values()), default=0)
    told: list[str] = []
    for number, change in enumerate(changes, start=1):
        _apply(fields, change, sequence + number)
        if isinstance(change, PutAssignment):
            told.append(change.node)
    done = replace(world, minted=minted, **fields)
    observations = dict(world.observations)
    for node in told:
        if node in observations:
            observations[node] = _up(done, observations[node])
    return replace(done, observations=observations)


def _apply(fields: dict[str, Any], change: Change, sequence: int) -> None:
    """One record written or dropped; kinds that placement does not look at are left out."""
    noun, _, name = change.key.partition(".")
    record: Any = getattr(change, "record", None)
    if change.key in SINGLE:
        fields[SINGLE[change.key]] = record
    elif noun in TABLES:
        key: object = tuple(name.split(".")) if noun == "endpoints" else name
        if record is None:
            fields[TABLES[noun]].pop(key, None)
        else:
            fields[TABLES[noun]][key] = Stored(record, sequence) if noun == "desired" else record


def _up(world: World, seen: Observation) -> Observation:
    """What a node that answers would show once its agent has done what its assignment says."""
    stored, verdict = world.assignments.get(seen.node), world.liveness.get(seen.node)
    if stored is None or verdict is None or verdict.verdict != "ready":
        return seen
    known = {task.id: task for task in seen.tasks}
    tasks = tuple(_shown(task, known.get(task.id)) for task in stored.record.tasks)
    applied = Applied(generation=world.generation, sequence=stored.sequence)
    volumes = {
        mount.source for spec in stored.record.specs.values() for mount in spec.container.mounts if _named(mount)
    }
    return msgspec.structs.replace(
        seen, tasks=tasks, applied=applied, counter=seen.counter + 1, volumes=tuple(sorted({*seen.volumes, *volumes}))
    )


def _named(mount: Mount) -> bool:
    return mount.kind == "volume" and bool(mount.source) and not mount.external


def _shown(task: AssignedTask, seen: ObservedTask | None) -> ObservedTask:
    """A task that was told to end has ended, one that was told to run runs; what ended by itself stays ended."""
    shown = seen or ObservedTask(
        id=task.id, service=task.service, slot=task.slot, revision=task.revision, spec=task.spec, state="new"
    )
    if shown.ended:
        return shown
    if task.desired == "shutdown":
        return msgspec.structs.replace(shown, state="exited")
    return msgspec.structs.replace(shown, state="running", health="")


def _tasks(world: World, services: frozenset[str]) -> dict[str, tuple[str, AssignedTask]]:
    """Id -> node and task, of all that are to run."""
    return {
        task.id: (node, task)
        for node, stored in world.assignments.items()
        for task in stored.record.tasks
        if task.service in services and task.desired == "running"
    }


def _planned(tasks: Iterable[tuple[str, AssignedTask]]) -> tuple[PlannedTask, ...]:
    found = sorted(tasks, key=lambda each: (each[1].service, slot_key(each[1].slot), each[0]))
    return tuple(PlannedTask(service=task.service, slot=task.slot, node=node, why=task.why) for node, task in found)
