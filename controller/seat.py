"""What a leader works with, for its rounds and for what goes on beside them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from bus.commits import Put
from bus.port import Bus
from controller.changes import Plan
from controller.hearing import Hearing
from controller.mirror import Mirror
from controller.streamtime import StreamTime
from controller.teller import Teller
from controller.world import Dirty, World
from schemas import subjects
from schemas.clock import Clock
from schemas.records import CursorRecord
from schemas.wire import encode

Planner: TypeAlias = Callable[[World, Dirty, float], Plan]


@dataclass(frozen=True)
class Seat:
    """What a leader works with. `name`: its own."""

    name: str
    bus: Bus
    mirror: Mirror
    hearing: Hearing
    teller: Teller
    clock: Clock
    time: StreamTime
    plan: Planner

    @property
    def frozen(self) -> str:
        """Why nothing may be decided on this store; "" if all is well."""
        return self.mirror.trouble or self.hearing.suspicion.rolled_back

    @property
    def unseen_since(self) -> float | None:
        """Stream time since which it is known that something may be missing here; None: nothing is."""
        known = [each for each in (self.mirror.unseen_since, self.hearing.suspicion.unsure_since) if each is not None]
        return self.time.now() - (asyncio.get_running_loop().time() - min(known)) if known else None

    def cursor_write(self) -> Put:
        """The cursor as it is now: also a write that changes nothing, and tells what became of those before it."""
        cursor = self.mirror.records.cursor
        told = max(self.teller.told, cursor.sequence)
        return Put(subjects.EVENTS_CURSOR, encode(CursorRecord(sequence=told, extra=cursor.extra)))
