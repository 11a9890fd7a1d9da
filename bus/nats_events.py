"""The event log over JetStream. Reading is by direct gets: there is no consumer that could get lost with a server.

A reader asks for what comes after its place, in portions, until there is no more; then it waits for a core message on
the subjects of events (or a second), and asks again. So nothing is missed over restarts, whatever is lost on the way.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import msgspec
from nats.aio.msg import Msg

from bus.cursors import load_cursor, save_cursor
from bus.feed import Feed
from bus.matching import matches
from bus.nats_line import Line
from bus.nats_listening import Listener
from bus.nats_wire import MESSAGE_ID, PENDING, STATUS, Fault, ack_of, error_of, event_of, info_of, rfc3339
from bus.permissions import check_controller, check_publish
from bus.port import EventReader, From, LoggedEvent, Store, StoreInfo
from schemas.errors import BadMessage, Unreachable
from schemas.subjects import EVENT_ALL, EVENT_STREAM

TIMEOUT = 5.0
PORTION = 256
PORTION_BYTES = 8 * 1024 * 1024
LOOK_EVERY = 1.0
RETRY_AFTER = 0.2


class NatsEvents:
    """See `bus.port.EventLog`."""

    def __init__(self, line: Line, state: Store) -> None:
        self._line = line
        self._state = state

    async def append(self, subject: str, data: bytes, message_id: str) -> int:
        """See `bus.port.EventLog`."""
        check_publish(self._line.user, subject)
        answer = await self._line.ask(subject, data, timeout=TIMEOUT, headers={MESSAGE_ID: message_id})
        try:
            stored = ack_of(answer.data)
        except BadMessage as error:
            raise Unreachable(f"{subject}: {error.message}") from error
        if isinstance(stored, Fault):
            raise error_of(stored)
        return stored[0]

    def read(self, start: From, subjects: Sequence[str] = ("mesh.event.>",)) -> EventReader:
        """See `bus.port.EventLog`."""
        check_controller(self._line.user, "read events")
        return NatsEventReader(self._line, self._state, start, tuple(subjects))

    async def find(self, pattern: str) -> LoggedEvent | None:
        """See `bus.port.EventLog`."""
        check_controller(self._line.user, "read events")
        question = msgspec.json.encode({"seq": 1, "next_by_subj": pattern})
        answer = await self._line.ask(f"$JS.API.DIRECT.GET.{EVENT_STREAM}", question, timeout=TIMEOUT)
        status = answer.headers.get(STATUS)
        if status not in (None, "404"):
            raise Unreachable(f"{pattern}: status {status}")
        return event_of(answer.headers, answer.data) if status is None else None

    async def info(self) -> StoreInfo:
        """See `bus.port.EventLog`."""
        check_controller(self._line.user, "ask for the log's state")
        return await stream_info(self._line)


async def stream_info(line: Line) -> StoreInfo:
    """What the server tells of the event stream. Raises StoreMissing, Unreachable."""
    return info_of((await line.ask(f"$JS.API.STREAM.INFO.{EVENT_STREAM}", b"", timeout=TIMEOUT)).data)


class NatsEventReader:
    """See `bus.port.EventReader`."""

    def __init__(self, line: Line, state: Store, start: From, subjects: tuple[str, ...]) -> None:
        self._line = line
        self._state = state
        self._start = start
        self._subjects = subjects
        self._filter = subjects[0] if len(subjects) == 1 else EVENT_ALL
        self._place: int | None = None
        """The sequence after which reading goes on; None: where it starts is not known yet."""
        self._ready: deque[LoggedEvent] = deque()
        self._more = asyncio.Event()
        self._answers: Feed[Msg] = Feed(4 * PORTION)
        self._asked = 0
        self._inbox = f"{line.new_inbox()}.events"
        self._listeners = [Listener(f"{self._inbox}.*", self._answer)]
        self._listeners += [Listener(subject, self._wake) for subject in subjects]
        self._confirmed = 0

    async def next(self) -> LoggedEvent:
        """The next event."""
        while not self._ready:
            try:
                pending = await self._fetch()
            except (Unreachable, BadMessage):
                await asyncio.sleep(RETRY_AFTER)
                continue
            if not self._ready and not pending:
                await self._wait()
        return self._ready.popleft()

    async def confirm(self, sequence: int) -> None:
        """See `bus.port.EventReader`."""
        if self._start.cursor and sequence > self._confirmed:
            with contextlib.suppress(Unreachable):
                await save_cursor(self._state, self._start.cursor, sequence)
                self._confirmed = sequence

    async def _wait(self) -> None:
        self._more.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY):
                await self._more.wait()

    async def _fetch(self) -> int:
        """Ask for one portion; how many there are beyond it."""
        if self._place is None:
            self._place = await self._first_place()
        question = {"seq": self._place + 1, "batch": PORTION, "max_bytes": PORTION_BYTES, "next_by_subj": self._filter}
        inbox = await self._question(question)
        while True:
            message = await self._answer_on(inbox)
            headers = message.headers or {}
            if STATUS in headers:
                return int(headers.get(PENDING, "0") or "0")
            self._take(event_of(headers, message.data))

    async def _question(self, question: dict[str, Any]) -> str:
        """Ask for messages of the stream; the subject on which they come."""
        self._asked += 1
        inbox = f"{self._inbox}.{self._asked}"
        await self._line.tell(f"$JS.API.DIRECT.GET.{EVENT_STREAM}", msgspec.json.encode(question), reply=inbox)
        return inbox

    async def _answer_on(self, inbox: str) -> Msg:
        try:
            async with asyncio.timeout(TIMEOUT):
                while (message := await self._answers.next()).subject != inbox:
                    pass
                return message
        except TimeoutError:
            raise Unreachable(f"no events within {TIMEOUT:g} s") from None

    def _take(self, event: LoggedEvent | None) -> None:
        if event is None:
            return
        self._place = max(self._place or 0, event.sequence)
        if any(matches(pattern, event.subject) for pattern in self._subjects):
            self._ready.append(event)

    async def _first_place(self) -> int:
        """Where reading starts (DESIGN: a named cursor goes on where it was). Raises Unreachable, StoreMissing."""
        start = self._start
        if start.cursor:
            known = await load_cursor(self._state, start.cursor)
            if known is not None:
                return known
        place = await self._fresh_place()
        if start.cursor:
            await save_cursor(self._state, start.cursor, place)
        return place

    async def _fresh_place(self) -> int:
        if self._start.after is not None:
            return self._start.after
        if self._start.since is None:
            return (await stream_info(self._line)).last
        question = {"batch": 1, "start_time": rfc3339(self._start.since), "next_by_subj": EVENT_ALL}
        message = await self._answer_on(await self._question(question))
        event = event_of(message.headers, message.data)
        return (await stream_info(self._line)).last if event is None else event.sequence - 1

    def _answer(self, message: Msg) -> None:
        self._answers.push(message)

    def _wake(self, _: Msg) -> None:
        self._more.set()

    def __aiter__(self) -> NatsEventReader:
        return self

    async def __anext__(self) -> LoggedEvent:
        return await self.next()

    async def __aenter__(self) -> NatsEventReader:
        try:
            for listener in self._listeners:
                await self._line.listen(listener)
            with contextlib.suppress(Unreachable):
                self._place = await self._first_place()
        except BaseException:
            await self._line.unlisten(*self._listeners)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._line.unlisten(*self._listeners)
