"""Storing what a round decided, and what to do where the store refuses it or its outcome is unknown.

When an outcome is unknown, a write goes after it, under a new fence (`bus.writer`): once that is stored, whatever came
before is stored or never will be, and a new snapshot tells.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from bus import commits
from bus.commits import Committed, Outcome, Write
from bus.logs import Waiting
from controller.elector import Fenced
from controller.proof import Proof
from controller.seat import Seat
from schemas.errors import MeshError, TimedOut

log = structlog.get_logger()

MIRROR_WAIT = 2.0
"""Seconds that the mirror has to show a round's commit before a snapshot is taken instead."""

RETRY = 0.2

REFUSED_PAUSE = (0.5, 5.0)
"""Least and most seconds until what the store refused is tried again; doubled each time."""


class Storing:
    """One leader's. `on_refused` is told why each time that the store refuses a write."""

    def __init__(self, seat: Seat, proof: Proof, on_refused: Callable[[str], None]) -> None:
        self.epoch = 0
        """Of the reign, for the log."""
        self.turn = asyncio.Lock()
        """Held from a decision until the mirror shows what became of it: nothing else is decided meanwhile."""
        self._seat = seat
        self._proof = proof
        self._on_refused = on_refused
        self._pause = REFUSED_PAUSE[0]
        self._waiting = Waiting(log, "leader.waited")

    async def store(self, writes: Sequence[Write]) -> Outcome:
        """As `Proof.submit` does. Where the store refuses a part (it has no room), those before it are stored: that
        counts as unknown, so that nothing is decided before the mirror shows them."""
        try:
            outcome = await self._proof.submit(writes)
        except MeshError as error:
            self._on_refused(f"nothing can be stored now: {error.message}")
            await asyncio.sleep(self._pause)
            self._pause = min(2 * self._pause, REFUSED_PAUSE[1])
            return commits.Unknown(error.message)
        return outcome

    async def settle(self, outcome: Outcome) -> bool:
        """Wait until the mirror shows what became of it; True: it is stored. Raises Fenced."""
        if isinstance(outcome, Committed):
            self._pause = REFUSED_PAUSE[0]
            try:
                await self._seat.mirror.reached(outcome.sequence, timeout=MIRROR_WAIT)
            except TimedOut:
                await self.resync("a round did not come back", outcome.sequence)
            return True
        if isinstance(outcome, commits.Fenced):
            raise Fenced
        await self._after_unknown()
        return False

    async def _after_unknown(self) -> None:
        """Store something after what is in doubt, under a new fence, then look. Raises Fenced."""
        while True:
            outcome = await self.store([self._seat.cursor_write()])
            if isinstance(outcome, Committed):
                self._waiting.over()
                await self.resync("a round's outcome was unknown", outcome.sequence)
                return
            if isinstance(outcome, commits.Fenced):
                raise Fenced
            self._waiting.tell(f"the store takes no writes ({outcome})", epoch=self.epoch)
            await asyncio.sleep(RETRY)

    async def resync(self, why: str, at_least: int) -> None:
        """Have a snapshot that reaches so far taken, however long it takes."""
        while True:
            try:
                await self._seat.mirror.resync(why, at_least)
                self._waiting.over()
                return
            except MeshError as error:
                self._waiting.tell(error.message, epoch=self.epoch)
                await asyncio.sleep(RETRY)
