"""What the streams of a simulated mesh show at a moment: read as they are written, for checkers of decisions.

A leader decides by its mirror, which is a little late: a task counts as up for `LAG` after it was last shown up, and
one that came up within `LAG` is known to be only if the leader went by what says so (`World.decided_by`). What people
changed within `LAG` before it decided it need not have heard, or since it knows that it is behind: it may go by what it
knew.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from bus.commits import Committed, Outcome, Put, Write
from schemas import subjects
from schemas.assignment import AssignedTask, Assignment
from schemas.kinds import kind_of
from schemas.observation import Observation, ObservedTask
from schemas.records import LivenessRecord, NodeRecord, OrderRecord, RevisionRecord, RolloutRecord, ServiceRecord
from schemas.spec import ServiceSpec, UpdatePolicy
from schemas.task_ids import age
from schemas.wire import Wire, decode
from tests.sim.basis import LAG, Basis
from tests.sim.world import World


@dataclass(frozen=True)
class Ended:
    """A task that a batch asks the end of."""

    task: AssignedTask
    node: str
    why: str
    epoch: int
    """Whose leader asks."""


@dataclass
class Shown:
    """The records, and what became of tasks."""

    world: World
    records: dict[str, Wire] = field(default_factory=dict)
    intents: dict[int, ServiceRecord] = field(default_factory=dict)
    """By the sequence of the record."""
    tasks: dict[str, tuple[ObservedTask, float]] = field(default_factory=dict)
    """The last that was observed of each task, and when it was last up."""

    told: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Node -> tasks that it has ever told of."""
    hidden: set[str] = field(default_factory=set)
    """Tasks that were up when their node told of them last, and that it does not tell of any more."""
    since: dict[str, float] = field(default_factory=dict)
    """When the tasks that are up came up, or those that were did last."""
    asked: set[str] = field(default_factory=set)
    """Tasks whose end was asked for."""
    dropped: dict[str, tuple[str, AssignedTask]] = field(default_factory=dict)
    """Tasks that no assignment names any more though they were last seen alive, with their node."""
    fell: dict[tuple[str, str], float] = field(default_factory=dict)
    """Service and slot -> when the end of one of its tasks was last observed that nobody had asked for."""
    changed: dict[str, float] = field(default_factory=dict)
    """When each record was last stored or deleted."""
    epoch: int = 0
    """Whose leader stored the last assignment: its decision is the one that is looked at."""

    def __post_init__(self) -> None:
        self.read_again()

    def read_again(self) -> None:
        """Take the records for what the store has now."""
        self.records.clear()
        self.intents.clear()
        for key, entry in self.world.broker.state.existing().entries.items():
            kind = kind_of(key)
            if kind is not None and entry.value is not None:
                record = self.records[key] = decode(entry.value, kind)
                if isinstance(record, ServiceRecord):
                    self.intents[entry.sequence] = record

    def stored(self, batch: Sequence[Write], outcome: Outcome) -> tuple[list[Ended], list[AssignedTask]]:
        """Take in a batch of the state stream: the tasks that it ends, and those that are new."""
        assert isinstance(outcome, Committed)
        ended: list[Ended] = []
        added: list[AssignedTask] = []
        for number, write in enumerate(batch):
            kind = kind_of(write.key)
            if kind is None:
                continue
            self.changed[write.key] = self.world.now
            if not isinstance(write, Put):
                self.records.pop(write.key, None)
                continue
            record = decode(write.value, kind)
            if isinstance(record, Assignment):
                self.epoch = record.epoch
                before = self.records.get(write.key)
                known = {task.id: task for task in before.tasks} if isinstance(before, Assignment) else {}
                told = not isinstance(before, Assignment) or before.provisional  # by its agent: no decision
                ended += () if told else _ended(known, record)
                self._drop(known, record)
                self.asked.update(task.id for task in record.tasks if task.desired == "shutdown")
                new = [task for task in record.tasks if task.id not in known and task.desired == "running"]
                if told:
                    new = [task for task in new if age(task.id) >= (record.epoch,)]
                added += new
            elif isinstance(record, ServiceRecord):
                self.intents[outcome.first + number] = record
            self.records[write.key] = record
        return ended, added

    def _drop(self, known: dict[str, AssignedTask], record: Assignment) -> None:
        named = {task.id for task in record.tasks}
        for id_, task in known.items():
            adopted = any(name.startswith(f"{id_}.r") for name in named)
            if id_ not in named and not adopted and id_ in self.tasks and not self.has_ended(id_):
                self.dropped[id_] = (record.node, task)

    def observed(self, batch: Sequence[Write]) -> None:
        """Take in a batch of the stream of observations."""
        for write in batch:
            if isinstance(write, Put):
                observation = decode(write.value, Observation)
                for task in observation.tasks:
                    self._observed(task)
                self._not_shown(observation)

    def _observed(self, task: ObservedTask) -> None:
        if self.has_ended(task.id) and not task.ended:
            return  # an older observation was stored late: what has ended stays so
        if task.ended and not self.has_ended(task.id) and task.id not in self.asked:
            self.fell[task.service, task.slot] = self.world.now
        if task.up and not self.is_up(task.id):
            self.since[task.id] = self.world.now
        last_up = self.tasks[task.id][1] if task.id in self.tasks else 0.0
        self.tasks[task.id] = (task, self.world.now if task.up or self.is_up(task.id) else last_up)
        self.hidden.discard(task.id)

    def _not_shown(self, observation: Observation) -> None:
        """What its node shows no more is not up, by that: of a chain of successors it tells the last two."""
        named = {task.id for task in observation.tasks}
        for id_ in self.told[observation.node] - named:
            if self.is_up(id_):
                self.tasks[id_] = (self.tasks[id_][0], self.world.now)
                self.hidden.add(id_)
        self.told[observation.node] |= named

    def is_up(self, task: str) -> bool:
        """Whether the last observation says so."""
        return task in self.tasks and self.tasks[task][0].up and task not in self.hidden

    def was_up(self, task: str) -> bool:
        """Whether a leader may take it for up."""
        return self.is_up(task) or (task in self.tasks and self.world.now - self.tasks[task][1] < LAG)

    def known_up(self, each: Ended) -> bool:
        """Whether it is up, and who asks for its end knew that, or has had the time to hear it."""
        id_ = each.task.id
        if not self.is_up(id_) or self.world.now - self.since[id_] >= LAG:
            return self.is_up(id_)
        return self.heard_up(each)

    def heard_up(self, each: Ended) -> bool:
        """Whether who asks for its end went by what says that it is up."""
        by = self.world.decided_by.get(each.epoch)
        seen = by.observations.get(each.node) if by is not None else None
        return seen is not None and any(task.id == each.task.id and task.up for task in seen.tasks)

    def has_ended(self, task: str) -> bool:
        """Whether its end was observed."""
        return task in self.tasks and self.tasks[task][0].ended

    def running(self, service: str) -> Iterator[tuple[str, AssignedTask]]:
        """(Node, task) of all that is to run of a service."""
        return ((node, task) for node, task in self._assigned(service) if task.desired == "running")

    def ending(self, service: str) -> Iterator[tuple[str, AssignedTask]]:
        """(Node, task) of all that is to end of a service, and was not seen ended."""
        told = [(node, task) for node, task in self._assigned(service) if task.desired == "shutdown"]
        told += [(node, task) for node, task in self.dropped.values() if task.service == service]
        return ((node, task) for node, task in told if not self.has_ended(task.id))

    def _assigned(self, service: str) -> Iterator[tuple[str, AssignedTask]]:
        for record in self.records.values():
            if isinstance(record, Assignment):
                yield from ((record.node, task) for task in record.tasks if task.service == service)

    def rollout(self, service: str) -> RolloutRecord | None:
        """How far it is."""
        found = self.records.get(subjects.rollout_key(service))
        return found if isinstance(found, RolloutRecord) else None

    def spec(self, service: str, revision: int) -> ServiceSpec | None:
        """What a revision says."""
        found = self.records.get(subjects.revision_key(service, revision))
        return found.spec if isinstance(found, RevisionRecord) else None

    def policy(self, rollout: RolloutRecord) -> UpdatePolicy | None:
        """Whose words count, by what the rollout answers; None: that is not known any more."""
        intent = self.intents.get(rollout.intent)
        if intent is None:
            return None
        left = rollout.update.left or (0 if intent.paused else intent.back_from)
        spec = self.spec(rollout.service, left or rollout.revision)
        if spec is None:
            return None
        return spec.rollback if left else spec.update

    def ready(self, node: str) -> bool:
        """Whether its verdict is so."""
        found = self.records.get(subjects.liveness_key(node))
        return isinstance(found, LivenessRecord) and found.verdict == "ready"

    def down(self, node: str) -> bool:
        """Whether its verdict is so."""
        found = self.records.get(subjects.liveness_key(node))
        return isinstance(found, LivenessRecord) and found.verdict == "down"

    def members(self, node: str) -> list[NodeRecord | None]:
        """The records of a node by which the decision may have gone: what stands, and what its leader still knew."""
        key = subjects.node_key(node)
        found, by = self.records.get(key), self._need_not_have_heard(key)
        known = by.nodes.get(node) if by is not None else None
        stands = found if isinstance(found, NodeRecord) else None
        return [stands] if known is None else [stands, known.record]

    def orders(self) -> list[OrderRecord]:
        """The orders by which the decision may have gone, in the same way."""
        by = self.world.decided_by.get(self.epoch)
        known = by.orders if by is not None else {}
        taken_back = [
            each.record for name, each in known.items() if self._need_not_have_heard(subjects.order_key(name))
        ]
        return [record for record in self.records.values() if isinstance(record, OrderRecord)] + taken_back

    def _need_not_have_heard(self, key: str) -> Basis | None:
        """What the leader went by, if the record has changed since, or so shortly before that this may be unheard, or
        if the leader knew that it was behind."""
        by, changed = self.world.decided_by.get(self.epoch), self.changed.get(key)
        return by if by is not None and changed is not None and (by.behind or by.at - changed < LAG) else None


def _ended(known: dict[str, AssignedTask], record: Assignment) -> Iterable[Ended]:
    for task in record.tasks:
        before = known.get(task.id)
        if task.desired == "shutdown" and before is not None and before.desired == "running":
            yield Ended(task, record.node, task.why, record.epoch)
