"""What a round may change: a plan is a tuple of `Change`s; each is the write of one record that the leader owns.

Nothing here decides, and nothing writes: `controller.plan` makes them, `controller.committing` stores them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from schemas import subjects
from schemas.assignment import Assignment
from schemas.network import AllocationRecord, EndpointsRecord, PublishRecord
from schemas.rebalance import RebalanceRecord
from schemas.records import BrakeRecord, LivenessRecord, Reason, RolloutRecord
from schemas.stacks import StackGoodRecord


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
