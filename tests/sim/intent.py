"""What a store wanted at a moment: its records, read once, for checkers that look back at them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from bus.memory_stream import MemoryStream
from schemas.assignment import AssignedTask, Assignment
from schemas.backup import Backup
from schemas.kinds import kind_of
from schemas.records import LivenessRecord, NodeRecord, OrderRecord, RevisionRecord, RolloutRecord, ServiceRecord
from schemas.spec import TaskSpec
from schemas.task_ids import lineage
from schemas.wire import Wire, decode


@dataclass(frozen=True)
class Intent:
    """The records and their sequences, by key."""

    records: Mapping[str, Wire] = field(default_factory=dict)
    sequences: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def tasks(self) -> tuple[AssignedTask, ...]:
        """All that is assigned."""
        return tuple(task for each in self.records.values() if isinstance(each, Assignment) for task in each.tasks)

    @cached_property
    def slots(self) -> Counter[tuple[str, str]]:
        """(Service, slot) -> how many tasks are to run in it."""
        return Counter((task.service, task.slot) for task in self.tasks if task.desired == "running")

    @cached_property
    def moving(self) -> frozenset[str]:
        """Tasks that an order moves."""
        orders = (each for each in self.records.values() if isinstance(each, OrderRecord))
        return frozenset(move.task for order in orders for move in order.moves)

    @cached_property
    def lineages(self) -> frozenset[str]:
        """The first of each chain of successors that is assigned, whether it is to run or to end."""
        return frozenset(lineage(task.id) for task in self.tasks)

    @cached_property
    def services(self) -> tuple[str, ...]:
        """Those that are to run."""
        named = (each for each in self.records.values() if isinstance(each, ServiceRecord) and not each.removed)
        return tuple(sorted(each.name for each in named))

    def assigned(self, node: str) -> Sequence[AssignedTask]:
        """What a node is assigned."""
        found = self.records.get(f"desired.{node}")
        return found.tasks if isinstance(found, Assignment) else ()

    def service(self, name: str) -> ServiceRecord | None:
        """What people want of it."""
        found = self.records.get(f"service.{name}")
        return found if isinstance(found, ServiceRecord) else None

    def rollout(self, name: str) -> RolloutRecord | None:
        """How far it is."""
        found = self.records.get(f"rollout.{name}")
        return found if isinstance(found, RolloutRecord) else None

    def spec(self, name: str, revision: int) -> TaskSpec | None:
        """What a revision's tasks are."""
        found = self.records.get(f"revision.{name}.{revision}")
        return found.spec.task if isinstance(found, RevisionRecord) else None

    def in_use(self, node: str) -> bool:
        """Whether it is a member that may have tasks."""
        found = self.records.get(f"node.{node}")
        return isinstance(found, NodeRecord) and not found.removed and found.availability != "drain"

    def verdict(self, node: str) -> str:
        """The leader's, "" if there is none."""
        found = self.records.get(f"liveness.{node}")
        return found.verdict if isinstance(found, LivenessRecord) else ""

    def answered(self, name: str) -> bool:
        """Whether a leader has carried out what is wanted of a service, and nothing of that is under way: it is done,
        its canary stands, or it went back by itself."""
        service, rollout = self.service(name), self.rollout(name)
        if service is None or service.removed or rollout is None or rollout.deploy != service.deploy:
            return False
        if rollout.intent != self.sequences[f"service.{name}"]:
            return False
        return rollout.phase == "done" or rollout.update.stands or rollout.update.state == "rollback_completed"


def of_stream(stream: MemoryStream | None) -> Intent:
    """What a stream holds now."""
    entries = stream.entries.values() if stream is not None else ()
    return _read((entry.key, entry.sequence, entry.value) for entry in entries if entry.value is not None)


def of_backup(backup: Backup | None) -> Intent:
    """What a backup holds."""
    return _read((each.key, each.sequence, each.content) for each in (backup.records if backup else ()))


def _read(found: Iterable[tuple[str, int, bytes]]) -> Intent:
    records, sequences = {}, {}
    for key, sequence, value in found:
        kind = kind_of(key)
        if kind is not None:
            records[key], sequences[key] = decode(value, kind), sequence
    return Intent(records, sequences)
