"""Core messages over NATS, and the server's advisories of who has disconnected."""

from __future__ import annotations

from types import TracebackType

import msgspec
from nats.aio.msg import Msg

from bus.feed import Feed
from bus.nats_line import Line
from bus.nats_listening import Listener
from bus.permissions import check_publish, check_subscribe
from bus.port import CLOSED, Message, Subscription
from schemas.wire import UNDECODABLE

ADVISORIES = "$SYS.ACCOUNT.*.DISCONNECT"
ADVISORY_LIMIT = 16_384


class _Client(msgspec.Struct, frozen=True):
    user: str = ""


class _Disconnect(msgspec.Struct, frozen=True):
    client: _Client = _Client()
    reason: str = ""


CLOSED_BY_CLIENT = frozenset({"Client Closed", "Read Error"})
"""The server's words where the other side has ended the connection in good order, or reset it."""


class NatsSubscription:
    """A bounded row of messages; survives reconnects."""

    def __init__(self, line: Line, subject: str, queue: str, limit: int) -> None:
        self._line = line
        self._feed: Feed[Message] = Feed(limit)
        self._listener = Listener(subject, self._deliver, queue)

    @property
    def dropped(self) -> int:
        """Messages that found the row full."""
        return self._feed.dropped

    @dropped.setter
    def dropped(self, value: int) -> None:
        self._feed.dropped = value

    async def next(self) -> Message:
        """The next message."""
        return await self._feed.next()

    def _deliver(self, message: Msg) -> None:
        self._feed.push(Message(subject=message.subject, data=message.data, reply=message.reply))

    def __aiter__(self) -> NatsSubscription:
        return self

    async def __anext__(self) -> Message:
        return await self._feed.next()

    async def __aenter__(self) -> NatsSubscription:
        await self._line.listen(self._listener)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._line.unlisten(self._listener)


class NatsAdvisories(NatsSubscription):
    """Who has lost the connection: the message's subject is the user (anyone could choose a client's name)."""

    def __init__(self, line: Line) -> None:
        super().__init__(line, ADVISORIES, "", ADVISORY_LIMIT)

    def _deliver(self, message: Msg) -> None:
        try:
            told = msgspec.json.decode(message.data, type=_Disconnect)
        except UNDECODABLE:
            return
        if told.client.user:
            closed = CLOSED if told.reason in CLOSED_BY_CLIENT else b""
            self._feed.push(Message(subject=told.client.user, data=closed))


class NatsCore:
    """See `bus.port.Core`."""

    def __init__(self, line: Line) -> None:
        self._line = line

    async def publish(self, subject: str, data: bytes) -> None:
        """See `bus.port.Core`."""
        check_publish(self._line.user, subject)
        await self._line.tell(subject, data)

    async def request(self, subject: str, data: bytes, *, timeout: float) -> bytes:
        """See `bus.port.Core`."""
        check_publish(self._line.user, subject)
        return (await self._line.ask(subject, data, timeout=timeout)).data

    async def respond(self, message: Message, data: bytes) -> None:
        """See `bus.port.Core`."""
        if message.reply:
            await self._line.tell(message.reply, data)

    def subscribe(self, subject: str, *, queue: str = "", limit: int = 1024) -> Subscription:
        """See `bus.port.Core`."""
        check_subscribe(self._line.user, subject)
        return NatsSubscription(self._line, subject, queue, limit)
