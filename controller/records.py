"""The mirror's content: entries of the two stores decoded.

Pure: no I/O, no clock. Bytes that are no record of their key change nothing and are told as `Garbage`; what stood there
before goes on standing (absence is never a decision, and neither is nonsense).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from bus.port import Entry
from controller.intake import tidy_observation
from controller.network_news import NetworkNews
from controller.world import Stored
from schemas import subjects
from schemas.assignment import Assignment
from schemas.errors import BadMessage
from schemas.kinds import SINGLE, kind_of
from schemas.network import AllocationRecord, EndpointsRecord, NetworkRecord, PublishRecord
from schemas.observation import Observation
from schemas.rebalance import RebalanceRecord
from schemas.records import (
    BrakeRecord,
    CursorRecord,
    EpochRecord,
    LivenessRecord,
    MeshRecord,
    NodeRecord,
    OrderRecord,
    RevisionRecord,
    RolloutRecord,
    ServiceRecord,
    StackRecord,
)
from schemas.stacks import StackGoodRecord, StackRevisionRecord
from schemas.wire import Wire, decode

R = TypeVar("R", bound=Wire)

DIGITS = 18
"""The number of a revision has fewer."""

BARE = frozenset({"rollout", "liveness", "alloc", "stackgood"})
"""Kinds whose sequence nobody asks for: kept without it."""


@dataclass(frozen=True)
class Seen:
    """A record was written or deleted. `old`/`new` None: there was / is none."""

    key: str
    old: Wire | None
    new: Wire | None
    sequence: int
    at: float


@dataclass(frozen=True)
class Garbage:
    """An entry that is no record."""

    key: str
    sequence: int
    why: str


class Records:
    """The state stream's records as of `sequence`, by kind, each with the sequence of its last write."""

    def __init__(self) -> None:
        self.sequence = 0
        self.news = NetworkNews()
        self.at = 0.0
        """Stream time of the last entry."""
        self.services: dict[str, Stored[ServiceRecord]] = {}
        self.revisions: dict[tuple[str, int], RevisionRecord] = {}
        self.stacks: dict[str, Stored[StackRecord]] = {}
        self.stack_revisions: dict[tuple[str, int], StackRevisionRecord] = {}
        self.stack_good: dict[str, StackGoodRecord] = {}
        self.nodes: dict[str, Stored[NodeRecord]] = {}
        self.assignments: dict[str, Stored[Assignment]] = {}
        self.rollouts: dict[str, RolloutRecord] = {}
        self.liveness: dict[str, LivenessRecord] = {}
        self.orders: dict[str, Stored[OrderRecord]] = {}
        self.networks: dict[str, Stored[NetworkRecord]] = {}
        self.allocations: dict[str, AllocationRecord] = {}
        self.endpoints: dict[tuple[str, str], EndpointsRecord] = {}
        """By network and service."""
        self._single: dict[str, Stored[Wire]] = {}
        self._numbers: dict[str, set[int]] = {}
        self._stack_numbers: dict[str, set[int]] = {}
        self._numbered: dict[str, tuple[dict[Any, Any], dict[str, set[int]]]] = {
            "revision": (self.revisions, self._numbers),
            "stackrev": (self.stack_revisions, self._stack_numbers),
        }
        """First token of keys that end in a number -> records by name and number, and the numbers by name."""
        self._tables: dict[str, dict[Any, Any]] = {
            "service": self.services,
            "stack": self.stacks,
            "stackgood": self.stack_good,
            "node": self.nodes,
            "order": self.orders,
            "desired": self.assignments,
            "rollout": self.rollouts,
            "liveness": self.liveness,
            "network": self.networks,
            "alloc": self.allocations,
        }
        self._sequences: dict[str, int] = {}
        """Of every key ever seen, tombstones too."""

    @property
    def mesh(self) -> MeshRecord | None:
        """The store's identity."""
        return self._one(subjects.MESH, MeshRecord)

    @property
    def epoch(self) -> tuple[int, EpochRecord | None]:
        """The epoch's number and who holds it; (0, None): nobody ever led."""
        stored = self._single.get(subjects.EPOCH)
        if stored is None:
            return 0, None
        record = cast("EpochRecord", stored.record)
        return record.number(stored.sequence), record

    @property
    def brake(self) -> BrakeRecord:
        """The brake."""
        return self._one(subjects.BRAKE, BrakeRecord) or BrakeRecord()

    @property
    def rebalance(self) -> RebalanceRecord | None:
        """The last rebalance."""
        return self._one(subjects.REBALANCE, RebalanceRecord)

    @property
    def publish(self) -> PublishRecord:
        """The ports that every node publishes."""
        return self._one(subjects.PUBLISH, PublishRecord) or PublishRecord()

    @property
    def cursor(self) -> CursorRecord:
        """How far decisions have been told."""
        return self._one(subjects.EVENTS_CURSOR, CursorRecord) or CursorRecord()

    def sequence_of(self, key: str) -> int | None:
        """The sequence of a key's last entry, also if that deleted it; None: never seen."""
        return self._sequences.get(key)

    def holds(self, key: str) -> bool:
        """Whether a record stands at `key`."""
        noun, _, name = key.partition(".")
        if noun in self._numbered:
            owner, _, number = name.rpartition(".")
            return _is_number(number) and int(number) in self._numbered[noun][1].get(owner, ())
        if noun == "endpoints" and key not in SINGLE:
            return tuple(name.split(".")) in self.endpoints
        return key in self._single or name in self._tables.get(noun, ())

    def revisions_of(self, service: str) -> tuple[int, ...]:
        """The kept revisions of a service, oldest first."""
        return tuple(sorted(self._numbers.get(service, ())))

    def stack_revisions_of(self, stack: str) -> tuple[int, ...]:
        """The kept revisions of a stack, oldest first."""
        return tuple(sorted(self._stack_numbers.get(stack, ())))

    def revised(self) -> list[str]:
        """The services of which a revision is kept, by name."""
        return sorted(service for service, numbers in self._numbers.items() if numbers)

    def apply(self, entry: Entry) -> Seen | Garbage | None:
        """Take an entry in; None: it was older than what is there, or of a key that is none of ours."""
        if entry.sequence <= self._sequences.get(entry.key, 0):
            return None
        self._sequences[entry.key] = entry.sequence
        if entry.sequence > self.sequence:
            self.sequence, self.at = entry.sequence, entry.at
        self.news.note(entry.key, entry.sequence, entry.key)
        kind = kind_of(entry.key)
        if kind is None:
            return None
        try:
            new = None if entry.value is None else decode(entry.value, kind)
            old = self._put(entry.key, new, entry.sequence)
        except BadMessage as error:
            return Garbage(entry.key, entry.sequence, error.message)
        stands = new is not None or entry.key == subjects.PUBLISH  # that there are none is one, too
        self.news.stand(entry.key, entry.sequence if stands else 0, since=entry.sequence)
        return Seen(entry.key, old, new, entry.sequence, entry.at)

    def replace(self, entries: Iterable[Entry], sequence: int) -> list[Seen | Garbage]:
        """Take over a snapshot, complete as of `sequence`: what it does not hold any more is gone."""
        entries = sorted(entries, key=lambda entry: entry.sequence)
        held = {entry.key for entry in entries}
        gone = [key for key, last in self._sequences.items() if key not in held and last <= sequence]
        told: list[Seen | Garbage] = []
        told += [forgotten for key in sorted(gone) if (forgotten := self._forget(key, sequence)) is not None]
        for each in told:
            self.news.note(each.key, sequence)  # when it went was not heard: not after that
        told += [seen for entry in entries if (seen := self.apply(entry)) is not None]
        self.sequence = max(self.sequence, sequence)
        self.news.forget()
        return told

    def _forget(self, key: str, sequence: int) -> Seen | None:
        kind = kind_of(key)
        if kind is None:
            return None
        try:
            old = self._put(key, None, 0)
        except BadMessage:
            return None
        self.news.stand(key, 0, since=sequence)
        return Seen(key, old, None, sequence, self.at) if old is not None else None

    def _put(self, key: str, new: Wire | None, sequence: int) -> Wire | None:
        """Store or drop; the record that stood there. Raises BadMessage: no name that could be ours."""
        if key in SINGLE:
            return _swap(self._single, key, new, sequence)
        noun, _, name = key.partition(".")
        if noun in self._numbered:
            return self._put_numbered(key, new, sequence)
        if noun == "endpoints":
            return self._put_endpoints(key, name, new, sequence)
        if not subjects.is_token(name):
            raise BadMessage(f"{key} is no key of ours")
        return _swap(self._tables[noun], name, new, sequence, bare=noun in BARE)

    def _put_numbered(self, key: str, new: Wire | None, sequence: int) -> Wire | None:
        noun, _, name = key.partition(".")
        owner, _, number = name.rpartition(".")
        if not (_is_number(number) and subjects.is_token(owner)):
            raise BadMessage(f"{key} is no revision's key")
        table, known = self._numbered[noun]
        numbers = known.setdefault(owner, set())
        (numbers.discard if new is None else numbers.add)(int(number))
        return _swap(table, (owner, int(number)), new, sequence, bare=True)

    def _put_endpoints(self, key: str, name: str, new: Wire | None, sequence: int) -> Wire | None:
        network, _, service = name.partition(".")
        if not (subjects.is_token(network) and subjects.is_token(service)):
            raise BadMessage(f"{key} is no key of endpoints")
        return _swap(self.endpoints, (network, service), new, sequence, bare=True)

    def _one(self, key: str, kind: type[R]) -> R | None:
        stored = self._single.get(key)
        return stored.record if stored and isinstance(stored.record, kind) else None


def _is_number(text: str) -> bool:
    """Whether it is the number of a revision as we write it: other digits than ours are none to Python's int."""
    return text.isascii() and text.isdigit() and len(text) < DIGITS


def _swap(table: dict[Any, Any], name: object, new: Wire | None, sequence: int, *, bare: bool = False) -> Wire | None:
    old: Any = table.pop(name, None) if new is None else table.get(name)
    if new is not None:
        table[name] = new if bare else Stored(new, sequence)
    return cast("Wire | None", old.record if isinstance(old, Stored) else old)


def observed_of(entry: Entry) -> Observation | Garbage | None:
    """The observation in an entry of `KV_mesh_observed`; None: deleted."""
    if entry.value is None:
        return None
    try:
        observation = decode(entry.value, Observation)
    except BadMessage as error:
        return Garbage(entry.key, entry.sequence, error.message)
    if observation.node != entry.key:
        return Garbage(entry.key, entry.sequence, f"an observation of {observation.node}")
    return tidy_observation(observation)
