"""Whether the store is still the one that the leader has followed: it is asked before anything is decided on it.

This process may have been stopped (SIGSTOP, a machine that slept), and the store rolled back meanwhile: the own fence
holds in the older one just as well, and what would be stored there next was decided by what it knows nothing of. An
answer is good for `PROVED_FOR` seconds, as long as followers take to notice (`controller.follower.COMPARE_EVERY`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import structlog

from bus.commits import Committed, Outcome, Unknown, Write
from bus.logs import Waiting
from bus.writer import split
from controller.seat import Seat
from schemas.errors import MeshError

log = structlog.get_logger()

PROVED_FOR = 2.0
ANSWER_WITHIN = 1.0
"""Seconds that the store has to answer: then it is asked again, since a question to a server that died is lost."""


NOTHING_WRITTEN: Outcome = Unknown("nothing was written")


Submit: TypeAlias = Callable[[Sequence[Write]], Awaitable[Outcome]]


class Proof:
    """The leader's."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        self._submit: Submit | None = None
        self._stored = 0
        """The highest sequence of what `submit` has stored in this reign."""
        self._shown_at = float("-inf")
        self._waiting = Waiting(log, "store.not_seen")

    def begin(self, submit: Submit, epoch: int) -> None:
        """A reign begins, with what stores its writes."""
        self._submit, self._stored = submit, epoch

    async def submit(self, writes: Sequence[Write]) -> Outcome:
        """Have something stored, in parts where it is too much for one (`bus.writer.split`); the last one's outcome.
        What is stored where others had been proves that the store is an older one: then no more of it is sent.

        Raises what `bus.writer.Writer.submit` does.
        """
        assert self._submit is not None, "no reign has begun"
        suspicion, outcome = self._seat.hearing.suspicion, NOTHING_WRITTEN
        for part in split(writes):
            seen, own = self._seat.mirror.sequence, self._stored  # others submit meanwhile
            outcome = await self._submit(part)
            if not isinstance(outcome, Committed):
                break
            suspicion.hear_stored("a write", outcome.first, seen, own)
            self._stored = max(self._stored, outcome.sequence)
            if suspicion.proven:
                break
        return outcome

    def shown(self, at: float) -> None:
        """What was sent at that monotonic time was stored after all that has been seen."""
        self._shown_at = max(self._shown_at, at)

    async def holds(self) -> bool:
        """Whether the store ends where it was seen to end, or later; asked if that is not known."""
        seat, asked = self._seat, self._seat.clock.monotonic()
        if asked - self._shown_at <= PROVED_FOR and not seat.mirror.state.extent.went_back:
            return True
        seen = seat.mirror.sequence
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                info = await seat.mirror.state.ask()
            if info.last < seen:
                await seat.mirror.state.resync(f"it ends at {info.last}, {seen} was seen")
        except (MeshError, TimeoutError) as error:
            self._waiting.tell(str(error) or "the store does not answer")
            return False
        if shrunk := seat.mirror.state.extent.shrunk:
            self._waiting.tell(shrunk)
            return False
        self._waiting.over()
        self.shown(asked)
        return not seat.frozen
