"""What a round sees and what it may change: the types between observing, planning and committing.

`World` is a view of the mirror (records as the stream shows them) and of what only this leader knows: when it
heard whom. A plan is a tuple of `Change`s; each is the write of one record that the leader owns. Nothing here
decides. Times are *stream time*: seconds since 1970 as the last stored message had it, plus the leader's monotonic
clock since then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeAlias, TypeVar

from schemas import subjects
from schemas.assignment import TASKS_PER_NODE, Assignment
from schemas.network import AllocationRecord, EndpointsRecord, NetworkRecord, PublishRecord
from schemas.observation import Observation
from schemas.rebalance import RebalanceRecord
from schemas.records import (
    BrakeRecord,
    LivenessRecord,
    NodeRecord,
    OrderRecord,
    Reason,
    RevisionRecord,
    RolloutRecord,
    ServiceRecord,
    StackRecord,
)
from schemas.stacks import StackGoodRecord

R = TypeVar("R")


@dataclass(frozen=True)
class Stored(Generic[R]):
    """A record with the sequence of its last write."""

    record: R
    sequence: int


@dataclass(frozen=True)
class Heard:
    """What this leader knows of a node from its heartbeats."""

    at: float
    """Stream time of the last heartbeat."""
    instance: str
    boot: str = ""
    engine: str = ""
    """Why its engine can't be used now; "" while it answers."""
    untold: str = ""
    """Why it can't tell what runs on it; "" while it can."""
    applied: tuple[int, int] = (0, 0)
    """(generation, sequence) of the assignment it has taken over."""
    observed: int = 0
    """Counter of the last observation that it says it has stored."""
    suspect_since: float | None = None
    """Stream time of a disconnect advisory since the last heartbeat."""
    leaving: bool = False
    """The last heartbeat said that the agent is about to stop; its containers run on."""
    closed: bool = False
    """Its connection was closed from its own machine since the last heartbeat: its agent has ended."""

    @property
    def trouble(self) -> str:
        """Why the node can't be used now, though its agent answers; "" if it can."""
        return self.engine or (f"its agent can't tell what runs there: {self.untold}" if self.untold else "")


@dataclass(frozen=True)
class World:
    """All that planning may look at."""

    epoch: int
    generation: int
    took_over: float
    """Stream time at which this leader took over."""
    services: Mapping[str, Stored[ServiceRecord]] = field(default_factory=dict)
    revisions: Mapping[tuple[str, int], RevisionRecord] = field(default_factory=dict)
    stacks: Mapping[str, Stored[StackRecord]] = field(default_factory=dict)
    stack_good: Mapping[str, StackGoodRecord] = field(default_factory=dict)
    nodes: Mapping[str, Stored[NodeRecord]] = field(default_factory=dict)
    assignments: Mapping[str, Stored[Assignment]] = field(default_factory=dict)
    observations: Mapping[str, Observation] = field(default_factory=dict)
    rollouts: Mapping[str, RolloutRecord] = field(default_factory=dict)
    liveness: Mapping[str, LivenessRecord] = field(default_factory=dict)
    orders: Mapping[str, Stored[OrderRecord]] = field(default_factory=dict)
    networks: Mapping[str, Stored[NetworkRecord]] = field(default_factory=dict)
    allocations: Mapping[str, AllocationRecord] = field(default_factory=dict)
    endpoints: Mapping[tuple[str, str], EndpointsRecord] = field(default_factory=dict)
    """By network and service."""
    publish: PublishRecord = field(default_factory=PublishRecord)
    brake: BrakeRecord = field(default_factory=BrakeRecord)
    rebalance: RebalanceRecord | None = None
    heard: Mapping[str, Heard] = field(default_factory=dict)
    hearing_since: float = 0.0
    """Stream time since which the leader has heard its own heartbeat without a break: liveness clocks start there."""
    nodes_total: int = 0
    minted: int = 0
    """The highest task number used in this epoch."""
    tasks_per_node: int = TASKS_PER_NODE


@dataclass(frozen=True)
class Dirty:
    """What may need a new decision; `everything` after a takeover, a resync or a change of any node."""

    services: frozenset[str] = frozenset()
    nodes: frozenset[str] = frozenset()
    everything: bool = False


@dataclass(frozen=True)
class PutAssignment:
    """What a node should run from now on."""

    node: str
    record: Assignment

    @property
    def key(self) -> str:
        """Where it is written."""
        return subjects.desired_key(self.node)

    def describe(self) -> str:
        """One line for the log."""
        running = sum(task.desired == "running" for task in self.record.tasks)
        return f"{self.node}: {running} tasks to run, {len(self.record.tasks) - running} to end"


@dataclass(frozen=True)
class PutRollout:
    """How far a service is."""

    record: RolloutRecord

    @property
    def key(self) -> str:
        """Where it is written."""
        return subjects.rollout_key(self.record.service)

    def describe(self) -> str:
        """One line for the log."""
        return f"{self.record.service}: {self.record.phase}, {self.record.running}/{self.record.wanted} running"


@dataclass(frozen=True)
class DropRollout:
    """A removed service has nothing left: forget its progress."""

    service: str

    @property
    def key(self) -> str:
        """What is deleted."""
        return subjects.rollout_key(self.service)

    def describe(self) -> str:
        """One line for the log."""
        return f"{self.service}: gone"


@dataclass(frozen=True)
class PutLiveness:
    """A verdict of a node."""

    record: LivenessRecord

    @property
    def key(self) -> str:
        """Where it is written."""
        return subjects.liveness_key(self.record.node)

    def describe(self) -> str:
        """One line for the log."""
        return f"{self.record.node}: {self.record.verdict} ({self.record.why})"


@dataclass(frozen=True)
class DropNode:
    """A node was removed and nothing of it is left: its verdict, or its empty assignment, is forgotten."""

    node: str
    what: Literal["desired", "liveness"]

    @property
    def key(self) -> str:
        """What is deleted."""
        return subjects.desired_key(self.node) if self.what == "desired" else subjects.liveness_key(self.node)

    def describe(self) -> str:
        """One line for the log."""
        return f"{self.node}: {self.what} of a removed node is forgotten"


@dataclass(frozen=True)
class PutBrake:
    """The brake is pulled or let go."""

    record: BrakeRecord

    @property
    def key(self) -> str:
        """Where it is written."""
        return subjects.BRAKE

    def describe(self) -> str:
        """One line for the log."""
        return f"brake {'engaged' if self.record.engaged else 'released'}: {self.record.why}"


@dataclass(frozen=True)
class PutAllocation:
    """What a network is allotted."""

    record: AllocationRecord

    @property
    def key(self) -> str:
        """Where it is written."""
        return subjects.allocation_key(self.record.network)

    def describe(self) -> str:
        """One line for the log."""
        return f"network {self.record.network}: {self.record.subnet or self.record.why}, {len(self.record.nodes)} nodes"


@dataclass(frozen=True)
class DropAllocation:
    """A network was removed."""

    network: str

    @property
    def key(self) -> str:
        """What is deleted."""
        return subjects.allocation_key(self.network)

    def describe(self) -> str:
        """One line for the log."""
        return f"network {self.network}: gone"


@dataclass(frozen=True)
class PutEndpoints:
    """Who answers for a service on a network."""

    record: EndpointsRecord

    @property
    def key(self) -> str:
        """Where it is written."""
        return subjects.endpoints_key(self.record.network, self.record.service)

    def describe(self) -> str:
        """One line for the log."""
        return f"{self.record.service} on {self.record.network}: {len(self.record.backends)} backends"


@dataclass(frozen=True)
class DropEndpoints:
    """A service is not on a network any more."""

    network: str
    service: str

    @property
    def key(self) -> str:
        """What is deleted."""
        return subjects.endpoints_key(self.network, self.service)

    def describe(self) -> str:
        """One line for the log."""
        return f"{self.service} is on {self.network} no more"


@dataclass(frozen=True)
class PutPublish:
    """The ports that every node publishes."""

    record: PublishRecord

    @property
    def key(self) -> str:
        """Where it is written."""
        return subjects.PUBLISH

    def describe(self) -> str:
        """One line for the log."""
        return f"{len(self.record.ports)} published ports"


@dataclass(frozen=True)
class PutStackGood:
    """A stack's revision came up as a whole."""

    record: StackGoodRecord

    @property
    def key(self) -> str:
        """Where it is written."""
        return subjects.stack_good_key(self.record.stack)

    def describe(self) -> str:
        """One line for the log."""
        return f"stack {self.record.stack}: all of revision {self.record.good[-1]} is up"


@dataclass(frozen=True)
class DropStackGood:
    """A stack was removed."""

    stack: str

    @property
    def key(self) -> str:
        """What is deleted."""
        return subjects.stack_good_key(self.stack)

    def describe(self) -> str:
        """One line for the log."""
        return f"stack {self.stack}: gone"


@dataclass(frozen=True)
class PutRebalance:
    """How far a rebalance is."""

    record: RebalanceRecord

    @property
    def key(self) -> str:
        """Where it is written."""
        return subjects.REBALANCE

    def describe(self) -> str:
        """One line for the log."""
        left = sum(each.state in ("waiting", "moving") for each in self.record.moves)
        return f"rebalance {self.record.order}: {left} of {len(self.record.moves)} moves to go"


StackChange: TypeAlias = PutStackGood | DropStackGood
NetworkChange: TypeAlias = PutAllocation | DropAllocation | PutEndpoints | DropEndpoints | PutPublish
Change: TypeAlias = (
    PutAssignment
    | PutRollout
    | DropRollout
    | PutLiveness
    | DropNode
    | PutBrake
    | NetworkChange
    | StackChange
    | PutRebalance
)


@dataclass(frozen=True)
class Fault:
    """What deciding about one service failed of: a fault of this program, or a record beyond all expectation."""

    service: str
    error: str
    traceback: str


@dataclass(frozen=True)
class Plan:
    """What a round decided. `wake_at`: the stream time at which time alone may ask for another decision."""

    changes: tuple[Change, ...] = ()
    minted: int = 0
    wake_at: float | None = None
    alarms: tuple[Reason, ...] = ()
    """What should not be: tasks whose service, revision or node is not in the store. Nothing is stopped for it."""
    faults: tuple[Fault, ...] = ()
    """Services about which deciding failed: they are left as they are."""
    open_orders: frozenset[str] = frozenset()
    """Orders that are still to be carried out."""
