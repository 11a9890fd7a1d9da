"""The event log in memory: `bus.port.EventLog` with deduplication and named cursors."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from types import TracebackType

from bus.cursors import load_cursor, save_cursor
from bus.matching import matches
from bus.memory_faults import Faults
from bus.memory_store import REQUEST_TIMEOUT, call
from bus.memory_wire import MemoryWire
from bus.permissions import check_controller, check_publish
from bus.port import EventReader, From, LoggedEvent, Store, StoreInfo
from schemas.clock import Clock
from schemas.errors import StoreMissing, Unreachable

DEDUPE_WINDOW = 600.0
"""Seconds within which the same message id is stored once."""


class EventHub:
    """The server's side: the log, its cursors, and who waits for more."""

    def __init__(self, wire: MemoryWire, faults: Faults, clock: Clock) -> None:
        self.wire = wire
        self.faults = faults
        self.clock = clock
        self.log: list[LoggedEvent] = []
        self.exists = True
        self.paused_until = 0.0
        self._ids: dict[str, tuple[int, float]] = {}
        self._readers: dict[MemoryEventReader, None] = {}

    def append(self, subject: str, data: bytes, message_id: str) -> int:
        """Store now, unless the id is known."""
        if not self.exists:
            raise StoreMissing("there is no event log")
        now = self.clock.wall()
        known = self._ids.get(message_id) if message_id else None
        if known is not None and now - known[1] < DEDUPE_WINDOW:
            return known[0]
        sequence = len(self.log) + 1
        self.log.append(LoggedEvent(sequence=sequence, subject=subject, data=data, at=now))
        self._ids[message_id] = (sequence, now)
        self.wake()
        return sequence

    def wake(self) -> None:
        """Readers look again, each after its own latency."""
        for reader in list(self._readers):
            self.wire.schedule.after(self.faults.latency(), reader.wake)

    def add(self, reader: MemoryEventReader) -> None:
        """A reader comes."""
        self._readers[reader] = None

    def remove(self, reader: MemoryEventReader) -> None:
        """A reader goes."""
        self._readers.pop(reader, None)

    def fresh_place(self, start: From) -> int:
        """The sequence after which reading starts where no cursor is known."""
        if start.after is not None:
            return start.after
        if start.since is not None:
            return sum(event.at < start.since for event in self.log)
        return len(self.log)


class MemoryEventReader:
    """One reader of the log; stands still while its user is cut off."""

    def __init__(self, hub: EventHub, user: str, state: Store, start: From, subjects: Sequence[str]) -> None:
        self._hub = hub
        self._user = user
        self._state = state
        self._start = start
        self._subjects = tuple(subjects)
        self._position = 0
        self._confirmed = 0
        self._more = asyncio.Event()

    def wake(self) -> None:
        """There may be more."""
        self._more.set()

    async def next(self) -> LoggedEvent:
        """The next event."""
        while True:
            event = self._take()
            if event is not None:
                return event
            self._more.clear()
            await self._more.wait()

    async def confirm(self, sequence: int) -> None:
        """See `bus.port.EventReader`."""
        if self._start.cursor and sequence > self._confirmed:
            with contextlib.suppress(Unreachable):
                await save_cursor(self._state, self._start.cursor, sequence)
                self._confirmed = sequence

    def _take(self) -> LoggedEvent | None:
        if not self._hub.wire.link(self._user).open:
            return None
        log = self._hub.log
        while self._position < len(log):
            event = log[self._position]
            self._position += 1
            if any(matches(pattern, event.subject) for pattern in self._subjects):
                return event
        return None

    def __aiter__(self) -> MemoryEventReader:
        return self

    async def __anext__(self) -> LoggedEvent:
        return await self.next()

    async def __aenter__(self) -> MemoryEventReader:
        self._position = self._hub.fresh_place(self._start)
        if self._start.cursor:
            known = await load_cursor(self._state, self._start.cursor)
            if known is None:
                await save_cursor(self._state, self._start.cursor, self._position)
            else:
                self._position = known
        self._hub.add(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hub.remove(self)


class MemoryEvents:
    """The log as one user sees it."""

    def __init__(self, hub: EventHub, user: str, state: Store) -> None:
        self._hub = hub
        self._user = user
        self._state = state

    async def append(self, subject: str, data: bytes, message_id: str) -> int:
        """See `bus.port.EventLog`."""
        check_publish(self._user, subject)
        wait = self._hub.paused_until - asyncio.get_running_loop().time()
        if wait > REQUEST_TIMEOUT:
            await asyncio.sleep(REQUEST_TIMEOUT)
            raise Unreachable("the event log takes no writes")
        await asyncio.sleep(max(0.0, wait))
        return await self._call(lambda: self._hub.append(subject, data, message_id))

    def read(self, start: From, subjects: Sequence[str] = ("mesh.event.>",)) -> EventReader:
        """See `bus.port.EventLog`."""
        check_controller(self._user, "read events")
        return MemoryEventReader(self._hub, self._user, self._state, start, subjects)

    async def find(self, pattern: str) -> LoggedEvent | None:
        """See `bus.port.EventLog`."""
        check_controller(self._user, "read events")
        found = await self._call(
            lambda: next((event.sequence for event in self._hub.log if matches(pattern, event.subject)), 0)
        )
        return self._hub.log[found - 1] if found else None

    async def info(self) -> StoreInfo:
        """See `bus.port.EventLog`."""
        check_controller(self._user, "ask for the log's state")
        last = await self._call(lambda: len(self._hub.log))
        return StoreInfo(first=1, last=last, created="1", leader="memory")

    async def _call(self, act: Callable[[], int]) -> int:
        return await call(self._hub.faults, self._hub.wire.link(self._user), act)
