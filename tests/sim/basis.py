"""What a leader of a simulated mesh went by when it decided, and whether it could know better.

A mirror that has missed something asks for a snapshot, and a replica that is behind answers with how things were
(`snapshot_lag`): while all answers are such ones, however long that is, their asker cannot know what has become of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from bus.memory_store import StoreHub
from bus.port import Snapshot
from controller.world import Stored
from schemas.observation import Observation
from schemas.records import NodeRecord, OrderRecord

LAG = 6.0
"""Seconds that a leader may be behind: a lost last message is found out after 2, and may be lost again."""


@dataclass(frozen=True)
class Outdated:
    """Answers in a row, none of them up to date, and none longer than `LAG` after the one before."""

    first: float
    last: float


@dataclass(frozen=True)
class Basis:
    """What a leader went by."""

    at: float
    observations: Mapping[str, Observation]
    nodes: Mapping[str, Stored[NodeRecord]]
    orders: Mapping[str, Stored[OrderRecord]]
    outdated: Outdated | None = None
    """What it was answered about observations; None: the last answer was up to date."""

    def shows_up(self, task: str) -> bool:
        """Whether the task is up in it."""
        return any(each.id == task and each.up for seen in self.observations.values() for each in seen.tasks)

    def could_not_know(self, fell: float) -> bool:
        """Whether it has asked since a task fell, and was answered with the past all the time."""
        row = self.outdated
        return row is not None and row.first - fell < LAG and self.at - row.last < LAG


@dataclass
class Answers:
    """What the snapshots of a store show their askers."""

    hub: StoreHub
    outdated: dict[str, Outdated] = field(default_factory=dict)
    """By user."""

    def __post_init__(self) -> None:
        self.hub.on_snapshot = self._answered

    def _answered(self, user: str, snapshot: Snapshot) -> None:
        row, now = self.outdated.pop(user, None), asyncio.get_running_loop().time()
        if snapshot.sequence < self.hub.existing().last:
            goes_on = row is not None and now - row.last < LAG
            self.outdated[user] = Outdated(row.first if row is not None and goes_on else now, now)
