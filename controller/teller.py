"""Publishes decision events: every controller derives and keeps them, the leader tells them.

What is not yet told stands after the `events.cursor` of the store, so a new leader's own backlog holds what the old one
had no time to publish. An event is told when the log has acknowledged it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

import structlog

from bus.port import EventLog
from controller.mirror import Mirror
from controller.records import Seen
from controller.telling import events_of, subject_of
from schemas import subjects
from schemas.errors import MeshError
from schemas.events import Event
from schemas.records import CursorRecord
from schemas.wire import encode

log = structlog.get_logger()

BACKLOG = 50_000
"""Events kept untold; beyond that the oldest are lost, and that is logged."""

RETRY = 0.5


class Teller:
    """The events after the cursor, in the order of the records that they derive from."""

    def __init__(self, mirror: Mirror, events: EventLog) -> None:
        self.told = 0
        """The sequence of the last record all of whose events are in the log."""
        self._backlog: deque[tuple[int, Event]] = deque()
        self._events = events
        self._more = asyncio.Event()
        self._mirror = mirror
        mirror.listeners.append(self.hear)

    def hear(self, seen: Seen) -> None:
        """A record has changed."""
        if seen.key == subjects.EVENTS_CURSOR and isinstance(seen.new, CursorRecord):
            self._skip(seen.new.sequence)
            return
        if seen.sequence <= self._mirror.records.cursor.sequence:
            return
        for event in self._events_of(seen):
            if len(self._backlog) >= BACKLOG:
                lost = self._backlog.popleft()
                log.error("event.lost", id=lost[1].id, kind=lost[1].kind, why="too many events wait to be told")
            self._backlog.append((seen.sequence, event))
            self._more.set()

    def _events_of(self, seen: Seen) -> Iterable[Event]:
        """What it is told as. Nothing, where that fails: it must not keep the mirror from going on."""
        try:
            return events_of(seen, self._mirror.records)
        except Exception:
            log.exception("record.not_told", key=seen.key, sequence=seen.sequence)
            return ()

    async def run(self) -> None:
        """Tell what there is and what comes, for ever (a leader's business)."""
        while True:
            while not self._backlog:
                self._more.clear()
                await self._more.wait()
            sequence, event = self._backlog[0]
            try:
                await self._events.append(subject_of(event), encode(event), event.id)
            except MeshError as error:
                log.debug("event.untold", id=event.id, why=error.message)
                await asyncio.sleep(RETRY)
                continue
            if self._backlog and self._backlog[0][1] is event:
                self._backlog.popleft()
            if not self._backlog or self._backlog[0][0] > sequence:
                self.told = max(self.told, sequence)

    async def tell(self, event: Event) -> None:
        """Tell one that derives from no record (store.*); it may be lost."""
        try:
            await self._events.append(subject_of(event), encode(event), event.id)
        except MeshError as error:
            log.info("event.lost", kind=event.kind, why=error.message)

    def _skip(self, sequence: int) -> None:
        self.told = max(self.told, sequence)
        while self._backlog and self._backlog[0][0] <= sequence:
            self._backlog.popleft()
