"""While tasks that must not run twice are assigned, the leader has the store say that it leads (`schemas.leases`)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from bus import commits
from bus.commits import Committed, Outcome, Write
from controller.elector import Fenced
from controller.seat import Seat
from controller.world import Stored
from schemas import subjects
from schemas.assignment import Assignment
from schemas.errors import MeshError, StoreMissing
from schemas.leases import CONFIRM_EVERY

Submit = Callable[[Sequence[Write]], Awaitable[Outcome]]


class Confirmer:
    """Beside one reign's rounds."""

    def __init__(self, seat: Seat, submit: Submit, epoch: int) -> None:
        self._seat = seat
        self._submit = submit
        self._epoch = epoch

    async def run(self) -> None:
        """While tasks that must not run twice are assigned: have the store say that this controller leads.

        Raises `controller.elector.Fenced`.
        """
        seat = self._seat
        while True:
            await asyncio.sleep(CONFIRM_EVERY)
            if not _leases_wanted(seat.mirror.records.assignments.values()):
                continue
            sent = seat.clock.monotonic()
            if seat.frozen:
                if await self._leads_still():
                    seat.hearing.confirmed(sent)
                continue
            outcome = await self._submit([seat.cursor_write()])
            if isinstance(outcome, Committed):
                seat.hearing.confirmed(sent)
            elif isinstance(outcome, commits.Fenced):
                raise Fenced

    async def _leads_still(self) -> bool:
        """On a store that nothing may be written to: whether it shows no other leader."""
        try:
            entry = await self._seat.bus.state.read(subjects.EPOCH)
        except StoreMissing:
            return True
        except MeshError:
            return False
        return entry is None or entry.sequence <= self._epoch


def _leases_wanted(assignments: Iterable[Stored[Assignment]]) -> bool:
    return any(spec.stop_after for stored in assignments for spec in stored.record.specs.values())
