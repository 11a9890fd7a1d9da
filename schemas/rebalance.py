"""Evening out where tasks run: moves, how far they are, and the requests about them."""

from __future__ import annotations

from typing import Literal

from schemas.wire import Count, Token, Wire

MOVES_AT_MOST = 1000
"""Moves of one rebalance."""

MoveState = Literal["waiting", "moving", "done", "skipped"]


class Move(Wire, frozen=True, kw_only=True):
    """One task that is to run elsewhere: its slot gets another on `target`."""

    service: Token
    slot: str
    task: str
    source: Token
    target: Token
    why: str = ""


class MoveProgress(Wire, frozen=True, kw_only=True):
    """A move, and how far it is."""

    move: Move
    state: MoveState = "waiting"
    at: float = 0.0
    """Stream time at which this state began."""
    why: str = ""
    """Why it was skipped."""


class RebalanceRecord(Wire, frozen=True, kw_only=True):
    """`rebalance`, by the leader: the last rebalance that was ordered, under way or over."""

    order: str
    sequence: Count = 0
    """Of the order."""
    active: bool = True
    moves: tuple[MoveProgress, ...] = ()
    since: float = 0.0
    """Stream time at which it began, or ended."""
    why: str = ""
