"""Whether the store is there for the leader when it has nothing to store: agents are told (`controller.pending`).

Its stream's leader is asked each second: without a majority it says so after three, and falls silent after ten. While
tasks that must not run twice are assigned, the store has to take a write that says who leads, too (`schemas.leases`).
A mesh at rest writes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import structlog

from bus import commits
from bus.commits import Committed
from bus.logs import Waiting
from controller.elector import Fenced
from controller.proof import Submit
from controller.seat import Seat
from controller.standing import epoch_in
from controller.world import Stored
from schemas import subjects
from schemas.assignment import Assignment
from schemas.errors import MeshError, StoreMissing
from schemas.leases import CONFIRM_EVERY

log = structlog.get_logger()

ASK_EVERY = 1.0
"""Seconds between an answer and the next question."""
ANSWER_WITHIN = 2.0
"""Seconds after which the store counts as silent."""


class Confirmer:
    """Beside one reign's rounds."""

    def __init__(self, seat: Seat, submit: Submit, epoch: int) -> None:
        self._seat = seat
        self._submit = submit
        self._epoch = epoch
        self._waiting = Waiting(log, "leases.unconfirmed")

    async def run(self) -> None:
        """Ask and confirm for ever. Raises `controller.elector.Fenced`, in a group."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_asking(), name="store asked")
            group.create_task(self._keep_confirming(), name="leases confirmed")

    async def _keep_asking(self) -> None:
        while True:
            await asyncio.sleep(ASK_EVERY)
            self._seat.hearing.pending.asked(answered=await self._answers())

    async def _answers(self) -> bool:
        """Whether the store has a leader that could store something."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                await self._seat.bus.state.info()
        except StoreMissing:
            return True
        except (MeshError, TimeoutError):
            return False
        return True

    async def _keep_confirming(self) -> None:
        seat = self._seat
        while True:
            await asyncio.sleep(CONFIRM_EVERY)
            if not _leases_wanted(seat.mirror.records.assignments.values()):
                continue
            if seat.mirror.state.extent.went_back and not seat.frozen:
                continue  # a write would fill the place of what was lost
            sent = seat.clock.monotonic()
            if await (self._leads_still() if seat.frozen else self._writes()):
                seat.hearing.confirmed(sent)

    async def _writes(self) -> bool:
        """Whether the store has taken a write of this leader. Raises Fenced."""
        try:
            outcome = await self._submit([self._seat.cursor_write()])
        except MeshError as error:  # it takes none now: it is full, or its files can't be written
            self._waiting.tell(error.message, epoch=self._epoch)
            return False
        if isinstance(outcome, commits.Fenced):
            raise Fenced
        return isinstance(outcome, Committed)

    async def _leads_still(self) -> bool:
        """Whether the store shows no other leader. One of the same epoch took over where this takeover was lost."""
        try:
            entry = await self._seat.bus.state.read(subjects.EPOCH)
        except StoreMissing:
            return True
        except MeshError:
            return False
        number, holder = epoch_in(entry)
        return number < self._epoch or (number == self._epoch and holder == self._seat.name)


def _leases_wanted(assignments: Iterable[Stored[Assignment]]) -> bool:
    return any(spec.stop_after for stored in assignments for spec in stored.record.specs.values())
