"""Core messages in memory: publish, request, queue groups, as `bus.port.Core` asks."""

from __future__ import annotations

import asyncio
import random
from types import TracebackType

from bus.feed import Feed
from bus.matching import matches
from bus.memory_faults import Packet
from bus.memory_wire import MemoryWire
from bus.permissions import check_publish, check_subscribe, inbox_prefix
from bus.port import Message, Subscription
from schemas.errors import Unreachable

HEARD_LIMIT = 4096
"""Subjects of which it is remembered who listens."""


class CoreHub:
    """The server's side: who listens to what, and who waits for which answer."""

    def __init__(self, wire: MemoryWire, rng: random.Random) -> None:
        self.wire = wire
        self._rng = rng
        self._subscriptions: dict[int, MemorySubscription] = {}
        self._waiting: dict[str, tuple[str, str, asyncio.Future[bytes]]] = {}
        self._count = 0
        self._heard: dict[str, list[MemorySubscription]] = {}
        """Subject -> who listens to it, as far as it was asked for since somebody came or went."""

    def add(self, subscription: MemorySubscription) -> int:
        """A listener comes."""
        self._count += 1
        self._subscriptions[self._count] = subscription
        self._heard.clear()
        return self._count

    def remove(self, number: int) -> None:
        """A listener goes."""
        self._subscriptions.pop(number, None)
        self._heard.clear()

    def drop_user(self, bus: object) -> None:
        """All listeners of one connection go."""
        gone = [number for number, each in self._subscriptions.items() if each.owner is bus]
        for number in gone:
            self.remove(number)

    def publish(self, sender: str, subject: str, data: bytes, reply: str = "") -> int:
        """Send to all who listen now; how many that are."""
        if subject in self._waiting:
            self._answer(sender, subject, data)
            return 1
        receivers = self._receivers(subject)
        for receiver in receivers:
            message = Message(subject=subject, data=data, reply=reply)
            packet = Packet(sender=sender, receiver=receiver.user, subject=subject)
            self.wire.send(packet, lambda to=receiver, what=message: to.deliver(what))  # type: ignore[misc]
        return len(receivers)

    def expect(self, user: str, about: str, future: asyncio.Future[bytes]) -> str:
        """A fresh subject on which `future` gets the first answer."""
        self._count += 1
        inbox = f"{inbox_prefix(user)}.{self._count}"
        self._waiting[inbox] = (user, about, future)
        return inbox

    def forget(self, inbox: str) -> None:
        """No answer is wanted any more."""
        self._waiting.pop(inbox, None)

    def _answer(self, sender: str, inbox: str, data: bytes) -> None:
        user, about, future = self._waiting[inbox]

        def deliver() -> None:
            if not future.done():
                future.set_result(data)

        self.wire.send(Packet(sender=sender, receiver=user, subject=inbox, about=about), deliver)

    def _receivers(self, subject: str) -> list[MemorySubscription]:
        chosen: list[MemorySubscription] = []
        groups: dict[str, list[MemorySubscription]] = {}
        for each in self._listeners(subject):
            (groups.setdefault(each.queue, []) if each.queue else chosen).append(each)
        chosen.extend(self._rng.choice(group) for group in groups.values())
        return chosen

    def _listeners(self, subject: str) -> list[MemorySubscription]:
        found = self._heard.get(subject)
        if found is None:
            if len(self._heard) > HEARD_LIMIT:
                self._heard.clear()
            found = [each for each in self._subscriptions.values() if matches(each.subject, subject)]
            self._heard[subject] = found
        return found


class MemorySubscription:
    """A bounded row of messages."""

    def __init__(self, hub: CoreHub, owner: object, user: str, subject: str, queue: str, limit: int) -> None:
        self.owner = owner
        self.user = user
        self.subject = subject
        self.queue = queue
        self._hub = hub
        self._feed: Feed[Message] = Feed(limit)
        self._number = 0

    @property
    def dropped(self) -> int:
        """Messages that found the row full."""
        return self._feed.dropped

    @dropped.setter
    def dropped(self, value: int) -> None:
        self._feed.dropped = value

    def deliver(self, message: Message) -> None:
        """A message has arrived."""
        self._feed.push(message)

    async def next(self) -> Message:
        """The next message."""
        return await self._feed.next()

    def __aiter__(self) -> MemorySubscription:
        return self

    async def __anext__(self) -> Message:
        return await self._feed.next()

    async def __aenter__(self) -> MemorySubscription:
        self._number = self._hub.add(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hub.remove(self._number)


class MemoryCore:
    """Core messages of one user."""

    def __init__(self, hub: CoreHub, user: str, owner: object) -> None:
        self._hub = hub
        self._user = user
        self._owner = owner

    async def publish(self, subject: str, data: bytes) -> None:
        """See `bus.port.Core`."""
        check_publish(self._user, subject)
        self._check_connected()
        self._hub.publish(self._user, subject, data)

    async def request(self, subject: str, data: bytes, *, timeout: float) -> bytes:
        """See `bus.port.Core`."""
        check_publish(self._user, subject)
        self._check_connected()
        link = self._hub.wire.link(self._user)
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        inbox = self._hub.expect(self._user, subject, future)
        try:
            async with asyncio.timeout(timeout):
                if not self._hub.publish(self._user, subject, data, inbox) and link.open:
                    raise Unreachable(f"nobody answers on {subject}")
                return await future
        except TimeoutError:
            raise Unreachable(f"no answer on {subject} within {timeout:g} s") from None
        finally:
            self._hub.forget(inbox)

    async def respond(self, message: Message, data: bytes) -> None:
        """See `bus.port.Core`."""
        if message.reply:
            self._check_connected()
            self._hub.publish(self._user, message.reply, data)

    def subscribe(self, subject: str, *, queue: str = "", limit: int = 1024) -> Subscription:
        """See `bus.port.Core`."""
        check_subscribe(self._user, subject)
        return MemorySubscription(self._hub, self._owner, self._user, subject, queue, limit)

    def _check_connected(self) -> None:
        if not self._hub.wire.link(self._user).connected:
            raise Unreachable("not connected")
