"""Whether the store is there for the leader when it has nothing to store: agents are told (`controller.pending`).

While tasks that must not run twice are assigned, the store has to take a write that says who leads (`schemas.leases`).
Else it is asked only: a mesh at rest writes nothing.
"""

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
        """Ask, or write, every `CONFIRM_EVERY` seconds. Raises `controller.elector.Fenced`."""
        seat = self._seat
        while True:
            await asyncio.sleep(CONFIRM_EVERY)
            leases = _leases_wanted(seat.mirror.records.assignments.values())
            sent = seat.clock.monotonic()
            confirmed = await (self._writes() if leases and not seat.frozen else self._leads_still())
            seat.hearing.pending.asked(answered=confirmed is not None)
            if leases and confirmed:
                seat.hearing.confirmed(sent)

    async def _writes(self) -> bool | None:
        """Whether the store has taken a write of this leader. None: it does not say. Raises Fenced."""
        outcome = await self._submit([self._seat.cursor_write()])
        if isinstance(outcome, commits.Fenced):
            raise Fenced
        return None if isinstance(outcome, commits.Unknown) else isinstance(outcome, Committed)

    async def _leads_still(self) -> bool | None:
        """Whether the store shows no other leader. None: it does not say."""
        try:
            entry = await self._seat.bus.state.read(subjects.EPOCH)
        except StoreMissing:
            return True
        except MeshError:
            return None
        return entry is None or entry.sequence <= self._epoch


def _leases_wanted(assignments: Iterable[Stored[Assignment]]) -> bool:
    return any(spec.stop_after for stored in assignments for spec in stored.record.specs.values())
