"""Where requests are dealt with: reading from the mirror, writing by compare-and-set.

A write is drafted from a mirror that has caught up with the stream, stored as one batch, and drafted anew when somebody
else was faster. When its outcome is unknown the first record is read back: it carries the command's id. By that id a
command that comes again is known, too: what is done is answered as done.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Generic, TypeVar

from bus.batches import check_batch
from bus.commits import Busy, Committed, Conflicted, Delete, Outcome, Put, Unknown, Write
from bus.port import Bus, StoreInfo
from controller.api.repeats import done_before_others, remembering
from controller.elector import Elector
from controller.hearing import Hearing
from controller.leader import Leader
from controller.mirror import Mirror
from controller.records import Records
from schemas.clock import Clock
from schemas.errors import Conflict, NotFound, Refused, StoreMissing, TimedOut, Unreachable
from schemas.requests import Ask
from schemas.wire import Wire, encode

A = TypeVar("A")

WRITE_TRIES = 8
READ_WAIT = 5.0
"""Seconds that a read with `min_sequence`, or a write, waits for the mirror."""

BUSY_WAIT = 0.02

ASK_AGAIN = 1.0
STORE_WAIT = 12.0
"""A stream whose server has died answers nobody until another leads it (4 to 9 s): asked again, so long."""


class Behind(Exception):
    """The mirror does not show what the stream holds: draft anew."""


@dataclass(frozen=True)
class Draft(Generic[A]):
    """What is to be written, and what it is answered with. No writes: nothing was to be changed."""

    answer: A
    records: tuple[tuple[str, Wire | None], ...] = ()
    """Key -> record, or None to delete it; all are compared with what the mirror shows."""


@dataclass(frozen=True)
class Desk:
    """What a request's handler works with."""

    name: str
    bus: Bus
    mirror: Mirror
    hearing: Hearing
    leader: Leader
    elector: Elector
    clock: Clock
    rng: random.Random
    version: str = ""
    hostname: str = ""
    until: float = 0.0
    """When what is being dealt with is too late, by the store's clock; 0.0: never."""
    asked: str = ""
    """The id that the command came with which is being dealt with."""

    @property
    def records(self) -> Records:
        """The state as the mirror shows it."""
        return self.mirror.records

    def command(self, given: str) -> str:
        """The id of a command: the one it came with, or a fresh one."""
        return given or f"{self.rng.getrandbits(48):012x}"

    async def ready_to_read(self, ask: Ask) -> None:
        """Wait until the mirror shows what the asker has seen. Raises TimedOut, StoreMissing, Unreachable."""
        self._check_mirror()
        await self.mirror.reached(ask.min_sequence, timeout=READ_WAIT)

    async def write(self, draft: Callable[[], Awaitable[Draft[A]]], *, pinned: bool = False) -> tuple[A, int]:
        """Store what `draft` asks for; its answer and the sequence.

        `pinned`: it was made for one version of a record, so that somebody else's change ends it.

        Raises:
            Conflict: somebody else's change came between, over and over or with `pinned`.
            Unreachable: the store takes no writes now; nothing was stored.
            TimedOut: it is not known whether it was stored.
        """
        why = ""
        for attempt in range(WRITE_TRIES):
            await asyncio.sleep(BUSY_WAIT * attempt)
            await self.catch_up()
            made = await draft()
            if not made.records:
                return made.answer, self.mirror.sequence
            if name := done_before_others(self.records, (record for _, record in made.records), self.asked):
                raise Conflict(f"this was done before, and {name} has been changed since", hint="look at it")
            seen = self.mirror.sequence  # before anything is compared with it
            try:
                batch = [await self._compared(key, remembering(self.records, record)) for key, record in made.records]
            except Behind:
                continue
            try:
                check_batch(batch)
            except ValueError as error:
                raise Refused(f"too much for one request: {error}", hint="do it in smaller parts") from error
            outcome = await self._store(batch)
            if isinstance(outcome, Committed):
                self._check_place(outcome, seen)
                return made.answer, outcome.sequence
            why = str(getattr(outcome, "why", ""))
            if pinned and isinstance(outcome, Conflicted):
                break
        raise Conflict(f"somebody else changed it meanwhile ({why})", hint="look at it and try again")

    async def catch_up(self) -> None:
        """Wait until the mirror shows all that is stored now.

        Raises Unreachable, StoreMissing, Refused; TimedOut, also where the request has come too late.
        """
        self._check_mirror()
        trouble = self.leader.frozen or self.mirror.state.extent.shrunk
        if trouble:
            raise Refused(f"nothing is written to this store: {trouble}", hint="see meshctl status")
        info = await self._info()
        if self.until and info.now > self.until:
            raise TimedOut(
                f"the request came {info.now - self.until:.1f} s too late: nothing was changed",
                hint="whoever sent it has stopped waiting for it; send it anew",
            )
        await self.mirror.reached(info.last, timeout=READ_WAIT)

    async def _info(self) -> StoreInfo:
        """How far the store is written, and the time there. Raises Unreachable, StoreMissing."""
        give_up = self.clock.monotonic() + STORE_WAIT
        while True:
            again = self.clock.monotonic() + ASK_AGAIN
            try:
                async with asyncio.timeout(ASK_AGAIN):
                    return await self.bus.state.info()
            except (TimeoutError, Unreachable):
                if again >= give_up:
                    why = f"the store has not answered for {STORE_WAIT:g} s: nothing was changed"
                    raise Unreachable(why, hint="are most of the nats-servers up? then try again") from None
            await asyncio.sleep(max(0.0, again - self.clock.monotonic()))

    def _check_mirror(self) -> None:
        trouble = self.mirror.trouble
        if trouble.startswith(StoreMissing.code):
            raise StoreMissing(trouble.partition(": ")[2])
        if not self.mirror.state.ready.is_set():
            raise Unreachable("this controller has no view of the store yet", hint="try again")

    async def _store(self, batch: list[Write]) -> Outcome:
        outcome = await self.bus.state.commit(batch)
        if isinstance(outcome, Busy):
            await asyncio.sleep(BUSY_WAIT)
        if isinstance(outcome, Unknown):
            return await self._look(batch)
        return outcome

    def _check_place(self, outcome: Committed, seen: int) -> None:
        """What stands where others had been is in an older store. Raises TimedOut: nobody knows what becomes of it."""
        suspicion = self.hearing.suspicion
        suspicion.hear_stored("a request", outcome.first, seen)
        if suspicion.proven:
            text = f"it may or may not be done, and may or may not be lost: {suspicion.rolled_back}"
            raise TimedOut(text, hint="see meshctl status; once the store is made anew, look whether it stands")

    async def _look(self, batch: list[Write]) -> Outcome:
        """What became of a batch of unknown outcome, by its first record. Raises TimedOut."""
        first = batch[0]
        try:
            entry = await self.bus.state.read(first.key)
        except Unreachable:
            raise TimedOut("the store does not answer: the change may or may not be stored") from None
        wanted = first.value if isinstance(first, Put) else None
        if entry is not None and entry.value == wanted and entry.sequence != first.expected:
            return Committed(entry.sequence + len(batch) - 1, entry.sequence)
        raise TimedOut("the store did not answer in time: the change may or may not be stored", hint="try again")

    async def _compared(self, key: str, record: Wire | None) -> Write:
        expected = self.records.sequence_of(key) if self.records.holds(key) else await self._tombstone(key)
        return Delete(key, expected) if record is None else Put(key, encode(record), expected)

    async def _tombstone(self, key: str) -> int:
        """The sequence under which a key that the mirror does not hold may be made. Raises Behind."""
        entry = await self.bus.state.read(key)
        if entry is not None and entry.value is not None:
            raise Behind
        return entry.sequence if entry is not None else 0


FEW = 8
"""So many names are told where none is near."""


def near_miss(name: str, known: list[str]) -> str:
    """A hint for a name that does not exist."""
    near = get_close_matches(name, known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else ""


def not_found(noun: str, name: str, known: list[str]) -> NotFound:
    """The error for a name that does not exist, with what may have been meant."""
    few = f"there is: {', '.join(sorted(known))}" if known else f"there is no {noun} at all"
    return NotFound(f"there is no {noun} {name!r}", hint=near_miss(name, known) or (few if len(known) <= FEW else ""))
