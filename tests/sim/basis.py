"""What a leader of a simulated mesh went by when it decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controller.world import Stored
from schemas.observation import Observation
from schemas.records import NodeRecord, OrderRecord

LAG = 6.0
"""Seconds that a leader may be behind and not know it: a lost last message is found out after 2."""


@dataclass(frozen=True)
class Basis:
    """What a leader went by."""

    at: float
    observations: Mapping[str, Observation]
    nodes: Mapping[str, Stored[NodeRecord]]
    orders: Mapping[str, Stored[OrderRecord]]
    behind: bool = False
    """Whether it knew that it had not seen all: then it takes nothing down of its own accord."""
