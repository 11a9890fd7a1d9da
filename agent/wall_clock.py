"""Whether this node's wall clock agrees with the leader's. It is told as an event; no decision hangs on it."""

from __future__ import annotations

import structlog

from agent.telling import Teller
from schemas.clock import Clock
from schemas.liveness import HeartbeatAnswer

TOLERATED = 10.0
"""Seconds by which clocks may differ: an answer can be on its way for some of them."""

log = structlog.get_logger()


class WallClock:
    """Compares with each answer of the leader; tells when it begins to differ, differs otherwise, or is right again."""

    def __init__(self, teller: Teller, clock: Clock) -> None:
        self._teller = teller
        self._clock = clock
        self._told = 0.0
        """By how much it was off when that was told last; 0: it was right."""

    def heard(self, answer: HeartbeatAnswer) -> None:
        """The leader has answered."""
        if not answer.wall:
            return
        ahead = self._clock.wall() - answer.wall
        off = ahead if abs(ahead) > TOLERATED else 0.0
        if abs(off - self._told) <= TOLERATED and bool(off) == bool(self._told):
            return
        self._told = off
        if not off:
            log.info("clock.right")
            self._teller.tell("node.clock_right")
            return
        why = f"this node's clock is {abs(off):,.0f} s {'ahead of' if off > 0 else 'behind'} the leader's"
        log.warning("clock.off", why=why)
        why = f"{why}: times in its events and logs are off by as much"
        self._teller.tell("node.clock_off", why=why, seconds=round(off))
