"""What a round sees: the types between observing and planning. What it may change is in `controller.changes`.

`World` is a view of the mirror (records as the stream shows them) and of what only this leader knows: when it
heard whom. Nothing here decides. Times are *stream time*: seconds since 1970 as the last stored message had it, plus
the leader's monotonic clock since then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from schemas.assignment import TASKS_PER_NODE, Assignment
from schemas.network import AllocationRecord, EndpointsRecord, NetworkRecord, PublishRecord
from schemas.observation import Observation
from schemas.rebalance import RebalanceRecord
from schemas.records import (
    BrakeRecord,
    LivenessRecord,
    NodeRecord,
    OrderRecord,
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
    unseen_since: float | None = None
    """Stream time since which it knows that it may not have seen all `observations`, or all that was stored
    (`controller.caution`); None: it has, as far as anybody can know."""
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
