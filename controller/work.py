"""One service in one round: what is wanted of it, the tasks it has, and what was decided so far.

The only mutable thing that the deciding steps share. The steps, in order: `settle` (ends and successors), which slots
are wanted (`replicated`, `global_`), `slots` (retire, fill), `updates`, `progress`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import msgspec

from controller.census import Census, Task
from controller.restarts import NO_HISTORY, fresh_start
from controller.volumes import Slot
from controller.world import Stored, World
from schemas.records import RolloutRecord, ServiceRecord, SlotHistory, UpdateProgress
from schemas.spec import ServiceSpec, UpdatePolicy

PAUSED = "the service is paused"
TURN = "waits for its turn"

SLOT_DIGITS = 10
"""The number of a slot has fewer."""


@dataclass(frozen=True, slots=True)
class Aim:
    """What holds for the service now: its intent, or while its rollout answers the same deploy what that says."""

    deploy: int
    revision: int
    replicas: int


@dataclass(frozen=True, slots=True)
class Past:
    """The last revision that came up as a whole, where it is another than the one wanted."""

    revision: int
    spec: ServiceSpec
    hash: str


@dataclass
class Work:
    """The state of deciding about one service."""

    name: str
    stored: Stored[ServiceRecord]
    prior: RolloutRecord | None
    aim: Aim
    spec: ServiceSpec | None
    """None: the wanted revision is not in the store. Then nothing is decided but removal."""
    spec_hash: str
    slots: dict[str, list[Task]]
    histories: dict[str, SlotHistory]
    failures: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """Node -> when the service failed there of late."""
    wanted: tuple[str, ...] = ()
    waits: dict[str, str] = field(default_factory=dict)
    """Slot -> why it is not (yet) as it should be."""
    unplaced: list[str] = field(default_factory=list)
    """Slots that found no place in this round."""
    elsewhere: set[str] = field(default_factory=set)
    """Slots that wait for a node that is away: they hold nothing else up."""
    held: list[str] = field(default_factory=list)
    """What is decided but can't be carried out before a node is heard."""
    notes: list[str] = field(default_factory=list)
    """Other reasons that belong to no slot."""
    wake_at: float | None = None
    update: UpdateProgress = field(default_factory=UpdateProgress)
    """How far the deploy has replaced tasks (`controller.rolling`)."""
    policy: UpdatePolicy = field(default_factory=UpdatePolicy)
    """How it replaces them."""
    good: int = 0
    """The last revision that came up as a whole; 0: none yet."""
    past: Past | None = None
    gate: str = ""
    """What a new revision's tasks wait for: a dependency that does not hold; "" if all do (`controller.gates`)."""
    again: str = ""
    """The same for tasks that follow one of the same revision."""
    past_again: str = ""
    """The same for tasks of `past`."""
    refilled: list[str] = field(default_factory=list)
    """Empty slots that get the last good revision again."""
    preparing: set[str] = field(default_factory=set)
    """Nodes that get the image of its next tasks ready."""
    targets: dict[str, str] = field(default_factory=dict)
    """Slot -> the node to which a rebalance moves it."""
    reaimed: bool = False
    """This round has begun a roll-back: another spec is wanted than at its start."""

    @property
    def record(self) -> ServiceRecord:
        """The intent."""
        return self.stored.record

    def tasks(self, slot: str) -> list[Task]:
        """The slot's tasks, oldest first."""
        return self.slots.get(slot, [])

    def history(self, slot: str) -> SlotHistory:
        """The slot's history."""
        return self.histories.get(slot, NO_HISTORY)

    def candidates(self, slot: str) -> list[Task]:
        """Tasks that fill the slot on live nodes, oldest first."""
        return [task for task in self.tasks(slot) if task.candidate]

    def current(self, slot: str) -> Task | None:
        """The task that fills the slot; the latest, while there are two."""
        return next(reversed(self.candidates(slot)), None)

    def did(self, slot: str) -> bool:
        """Whether the slot did its work at the wanted spec; a task of another one may still run."""
        return bool(self.spec_hash) and self.history(slot).complete == self.spec_hash

    def over(self, slot: str) -> bool:
        """Whether the slot needs no other task of the wanted spec: it did its work, or gave up."""
        return self.did(slot) or (bool(self.spec_hash) and self.history(slot).given_up == self.spec_hash)

    def replace(self, old: Task, new: Task | None) -> None:
        """Put `new` in the place of `old`; None: it is no more."""
        tasks = self.slots[old.slot]
        index = tasks.index(old)
        tasks[index : index + 1] = [new] if new is not None else []

    def wake(self, at: float) -> None:
        """Look at the service again at that stream time, at the latest."""
        self.wake_at = at if self.wake_at is None else min(self.wake_at, at)

    def counts(self) -> Counter[str]:
        """Live tasks by node."""
        return Counter(task.node for tasks in self.slots.values() for task in tasks if task.live)

    def volume_slot(self, slot: str, spec: ServiceSpec | None = None) -> Slot:
        """The slot, as volumes are asked for; of `spec`, or of the one wanted."""
        spec = spec or self.spec
        assert spec is not None, "volumes belong to a spec"
        tasks = [(task.node, task.assigned.revision) for task in reversed(self.tasks(slot)) if task.assigned]
        ended = [(entry.node, entry.revision) for entry in self.history(slot).ended]
        return Slot(spec, slot, (*tasks, *ended))


def open_work(world: World, name: str, census: Census) -> Work:
    """The service as the round finds it."""
    stored = world.services[name]
    prior = world.rollouts.get(name)
    aim = aim_of(stored.record, prior)
    revision = world.revisions.get((name, aim.revision))
    histories = dict(prior.slots) if prior is not None else {}
    failures = dict(prior.failures) if prior is not None else {}
    if prior is not None and prior.deploy != aim.deploy:
        histories, failures = {slot: fresh_start(history) for slot, history in histories.items()}, {}
    return Work(
        name=name,
        stored=stored,
        prior=prior,
        aim=aim,
        spec=revision.spec if revision is not None else None,
        spec_hash=revision.spec.task.hash if revision is not None else "",
        slots={slot: list(tasks) for slot, tasks in sorted(census.of(name).items())},
        histories=histories,
        failures=failures,
    )


def aim_of(record: ServiceRecord, prior: RolloutRecord | None) -> Aim:
    """What holds now. A paused service stays at what its rollout says; a scale does not undo a roll-back."""
    if record.removed:
        return Aim(record.deploy, record.target, 0)
    if record.paused:
        if prior is None:
            return Aim(0, record.target, 0)
        return Aim(prior.deploy, prior.revision, prior.replicas)
    if prior is not None and prior.deploy == record.deploy and prior.revision:
        return Aim(record.deploy, prior.revision, record.replicas)
    return Aim(record.deploy, record.target, record.replicas)


def slot_key(slot: str) -> tuple[int, int, str]:
    """Slots in order: numbers by value, then names. Any text is in order: agents say what they like."""
    return (0, int(slot), "") if slot.isdecimal() and len(slot) < SLOT_DIGITS else (1, 0, slot)


def with_history(work: Work, slot: str, history: SlotHistory) -> None:
    """Note the slot's history, unless it says nothing."""
    if history != NO_HISTORY:
        work.histories[slot] = history
    else:
        work.histories.pop(slot, None)


def mark_retired(work: Work) -> None:
    """Tell slots that are wanted from those that end and those of which only the history is kept.

    A slot that is being scaled away is marked from its first round on: else, once its task has ended, it would look
    like one that waits for its next task.
    """
    wanted = set(work.wanted)
    for slot in sorted({*work.histories, *work.slots}):
        history = work.history(slot)
        if history.retired != (slot not in wanted):
            with_history(work, slot, msgspec.structs.replace(history, retired=slot not in wanted))
