"""Events on disk until the log of the mesh has acknowledged them.

`add` never waits; `persist` puts what is new on disk; `run` sends batches of at most 200 events each 200 ms. At most
10,000 are kept (of post-mortems 500): then the oldest are dropped, and one event says how many. After a crash a batch
may be sent again: each event keeps its id.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable

import structlog

from agent.files import Files
from bus.port import EventLog
from schemas import subjects
from schemas.clock import Clock, iso
from schemas.errors import BadMessage, MeshError
from schemas.events import BATCH_EVERY, BATCH_LIMIT, JOURNAL_LIMIT, Event, EventBatch
from schemas.postmortem import KIND
from schemas.wire import decode, encode

FILE = "journal.jsonl"
COMPACT_AFTER = 2000
"""Acknowledged lines in the file after which it is written anew."""
BATCH_BYTES = 1024 * 1024
RETRY_FIRST, RETRY_MOST = 0.5, 5.0
POST_MORTEMS_KEPT = 500
"""Of the events that wait; each may take 16 KiB."""

log = structlog.get_logger()


class Journal:
    """The events of one node that are not acknowledged yet."""

    def __init__(
        self, node: str, files: Files, sink: EventLog, clock: Clock, *, may_send: Callable[[], bool] = lambda: True
    ) -> None:
        self._node = node
        self._files = files
        self._sink = sink
        self._clock = clock
        self._may_send = may_send
        self._events: deque[Event] = deque()
        self._batch: tuple[Event, ...] = ()
        self._unsaved: list[Event] = []
        self._torn = False
        """The file may end in the middle of a line."""
        self._acknowledged_on_disk = 0
        self._lock = asyncio.Lock()
        self._news = asyncio.Event()
        self.added = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._batch) + len(self._events)

    def add(self, event: Event) -> None:
        """Keep an event for sending."""
        if len(self) >= JOURNAL_LIMIT and self._events:
            self._events.popleft()
            self.dropped += 1
        if event.kind == KIND:
            self._make_room_for_post_mortem()
        self._events.append(event)
        self._unsaved.append(event)
        self.added += 1
        self._news.set()

    def _make_room_for_post_mortem(self) -> None:
        if len(self._events) < POST_MORTEMS_KEPT:
            return
        kept = [event for event in self._events if event.kind == KIND]
        if len(kept) >= POST_MORTEMS_KEPT:
            self._events.remove(kept[0])
            self.dropped += 1

    async def load(self) -> None:
        """Take over what an earlier process has left, each event once. Lines that make no sense are skipped."""
        try:
            data = await self._files.read(FILE) or b""
        except OSError as error:
            log.error("journal.not_read", error=str(error))
            return
        self._torn = not data.endswith(b"\n") if data else False
        found: dict[str, Event] = {}
        for line in filter(None, data.splitlines()):
            try:
                event = decode(line, Event)
            except BadMessage as error:
                log.warning("journal.line_skipped", error=str(error))
            else:
                found[event.id] = event
        self._events.extend(found.values())
        while len(self._events) > JOURNAL_LIMIT:
            self._events.popleft()
            self.dropped += 1
        if self._events:
            self._news.set()

    async def persist(self) -> None:
        """Put all that was added on disk. A disk that refuses is logged: sending goes on from memory.

        What it refused is tried again with what is added next, on a line of its own: some of it may be there.
        """
        async with self._lock:
            unsaved, self._unsaved = self._unsaved_that_wait(), []
            if not unsaved:
                return
            lines = b"".join(encode(event) + b"\n" for event in unsaved)
            try:
                await self._files.append(FILE, b"\n" + lines if self._torn else lines)
            except OSError as error:
                log.error("journal.not_saved", error=str(error), events=len(unsaved))
                self._unsaved, self._torn = [*unsaved, *self._unsaved], True
            else:
                self._torn = False

    def _unsaved_that_wait(self) -> list[Event]:
        """Less what was acknowledged, or dropped, meanwhile."""
        if not self._unsaved:
            return []
        waiting = {id(event) for event in (*self._batch, *self._events)}
        return [event for event in self._unsaved if id(event) in waiting]

    async def run(self) -> None:
        """Send for ever."""
        pause = RETRY_FIRST
        while True:
            if not len(self):
                self._news.clear()
                await self._news.wait()
            await asyncio.sleep(BATCH_EVERY)
            await self.persist()
            if self._may_send() and await self.send():
                pause = RETRY_FIRST
            else:
                await asyncio.sleep(pause)
                pause = min(RETRY_MOST, 2 * pause)

    async def send(self) -> bool:
        """Send one batch; whether it was acknowledged."""
        self._batch = self._batch or self._next_batch()
        if not self._batch:
            return True
        try:
            for subject, record, id_ in messages_of(self._node, self._batch):
                await self._sink.append(subject, record, id_)
        except MeshError as error:
            log.info("journal.send_failed", error=str(error), waiting=len(self))
            return False
        self._acknowledged_on_disk += len(self._batch)
        self._batch = ()
        await self._compact()
        return True

    def _next_batch(self) -> tuple[Event, ...]:
        if self.dropped:
            self._events.appendleft(self._told_drop())
            self.dropped = 0
        batch: list[Event] = []
        size = 0
        while self._events and len(batch) < BATCH_LIMIT:
            size += len(encode(self._events[0]))
            if batch and size > BATCH_BYTES:
                break
            batch.append(self._events.popleft())
        return tuple(batch)

    def _told_drop(self) -> Event:
        at = self._clock.wall()
        return Event(
            id=f"{self._node}-events.dropped-{at:.6f}",
            kind="events.dropped",
            at=iso(at),
            node=self._node,
            why=f"the journal holds {JOURNAL_LIMIT} events: the oldest were dropped",
            data={"count": self.dropped},
        )

    async def _compact(self) -> None:
        """Take acknowledged lines off the disk, once nothing or little else is there."""
        if len(self) and self._acknowledged_on_disk < COMPACT_AFTER:
            return
        async with self._lock:
            left = [*self._batch, *self._events]
            try:
                if left:
                    await self._files.write(FILE, b"".join(encode(event) + b"\n" for event in left))
                else:
                    await self._files.remove(FILE)
            except OSError as error:
                log.error("journal.not_compacted", error=str(error))
                return
            kept = {id(event) for event in left}
            self._unsaved = [event for event in self._unsaved if id(event) not in kept]
            self._acknowledged_on_disk, self._torn = 0, False


def messages_of(node: str, batch: tuple[Event, ...]) -> list[tuple[str, bytes, str]]:
    """Subject, bytes and message id of all that tells a batch: each post-mortem alone, the rest together."""
    alone = [event for event in batch if event.kind == KIND]
    rest = tuple(event for event in batch if event.kind != KIND)
    found = [(subjects.post_mortem(event.task, node, event.service), encode(event), event.id) for event in alone]
    if rest:
        found.append((subjects.event_batch(node), encode(EventBatch(node=node, events=rest)), message_id(node, rest)))
    return found


def message_id(node: str, batch: tuple[Event, ...]) -> str:
    """The same for the same events: the log stores a batch sent twice once."""
    digest = hashlib.sha256("\n".join(event.id for event in batch).encode()).hexdigest()
    return f"{node}-{digest[:32]}"
