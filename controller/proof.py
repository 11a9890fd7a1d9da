"""Whether the store is still the one that the leader has followed: it is asked before anything is decided on it.

This process may have been stopped (SIGSTOP, a machine that slept), and the store rolled back meanwhile: the own fence
holds in the older one just as well, and what would be stored there next was decided by what it knows nothing of. An
answer is good for `PROVED_FOR` seconds, as long as followers take to notice (`controller.follower.COMPARE_EVERY`).
"""

from __future__ import annotations

import asyncio

import structlog

from bus.commits import Committed
from bus.logs import Waiting
from controller.seat import Seat
from schemas.errors import MeshError

log = structlog.get_logger()

PROVED_FOR = 2.0
ANSWER_WITHIN = 1.0
"""Seconds that the store has to answer: then it is asked again, since a question to a server that died is lost."""


class Proof:
    """The leader's."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        self._shown_at = float("-inf")
        self._waiting = Waiting(log, "store.not_seen")

    def shown(self, at: float) -> None:
        """What was sent at that monotonic time was stored after all that has been seen."""
        self._shown_at = max(self._shown_at, at)

    async def holds(self) -> bool:
        """Whether the store ends where it was seen to end, or later; asked if that is not known."""
        seat, asked = self._seat, self._seat.clock.monotonic()
        if asked - self._shown_at <= PROVED_FOR:
            return True
        seen = seat.mirror.sequence
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                info = await seat.bus.state.info()
            if info.last < seen:
                await seat.mirror.state.resync(f"it ends at {info.last}, {seen} was seen")
        except (MeshError, TimeoutError) as error:
            self._waiting.tell(str(error) or "the store does not answer")
            return False
        self._waiting.over()
        self.shown(asked)
        return not seat.frozen


def older(outcome: Committed, seen: int) -> str:
    """What a write proves that was stored where others had been seen; unnoticed, the store would outgrow them."""
    return f"store.rolled_back: a write was stored at {outcome.first}, this controller has seen {seen} before"
