"""Requests about rebalancing, and their answers."""

from __future__ import annotations

from schemas.rebalance import Move, RebalanceRecord
from schemas.requests import Ask, Command
from schemas.wire import Count, Wire


class PlanRebalance(Ask, frozen=True, kw_only=True):
    """rebalance.plan: the fewest moves that even out the spread; at most `max_moves` (0: all)."""

    max_moves: Count = 0


class RebalancePlan(Wire, frozen=True, kw_only=True):
    """The answer to rebalance.plan. `left_out`: so many moves more would be needed."""

    moves: tuple[Move, ...] = ()
    left_out: Count = 0
    before: dict[str, Count] = {}
    """Node -> tasks to run."""
    after: dict[str, Count] = {}


class ApplyRebalance(Command, frozen=True, kw_only=True):
    """rebalance.apply: order what rebalance.plan would answer now."""

    max_moves: Count = 0


class RebalanceOrdered(Wire, frozen=True, kw_only=True):
    """The answer to rebalance.apply; an empty `order`: there is nothing to move."""

    sequence: Count
    order: str = ""
    moves: tuple[Move, ...] = ()


class StopRebalance(Command, frozen=True, kw_only=True):
    """rebalance.stop: begin no further move; those under way are ended or taken back."""


class GetRebalance(Ask, frozen=True, kw_only=True):
    """rebalance.get."""


class RebalanceView(Wire, frozen=True, kw_only=True):
    """The last rebalance; None: there never was one, or it is ordered and not yet begun (`ordered`)."""

    record: RebalanceRecord | None = None
    ordered: str = ""


REBALANCE_REQUESTS: dict[str, tuple[type[Wire], type[Wire]]] = {
    "rebalance.plan": (PlanRebalance, RebalancePlan),
    "rebalance.apply": (ApplyRebalance, RebalanceOrdered),
    "rebalance.stop": (StopRebalance, RebalanceOrdered),
    "rebalance.get": (GetRebalance, RebalanceView),
}
