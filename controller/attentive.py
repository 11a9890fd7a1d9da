"""A bus whose calls end when their task was cancelled, even if the answer came at the same moment.

`asyncio.wait_for` before Python 3.12, which the NATS library uses, loses a cancellation that comes together with the
answer. A task group cancels its tasks once only: one that missed it runs on, and a leader could not step down. Seen in
one of three hand-overs under load. Wrapped around the bus, this makes up for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TypeVar

from bus.port import (
    Bus,
    Core,
    Entry,
    EventLog,
    EventReader,
    Fence,
    From,
    Message,
    Outcome,
    Snapshot,
    Store,
    StoreInfo,
    Subscription,
    Watch,
    Write,
)

T = TypeVar("T")


async def attentive(call: Awaitable[T]) -> T:
    """The call's result. Raises CancelledError if the task was cancelled meanwhile."""
    result = await call
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
    return result


class AttentiveBus:
    """See `bus.port.Bus`."""

    def __init__(self, bus: Bus) -> None:
        self.core: Core = AttentiveCore(bus.core)
        self.state: Store = AttentiveStore(bus.state)
        self.observed: Store = AttentiveStore(bus.observed)
        self.events: EventLog = AttentiveEvents(bus.events)
        self._bus = bus

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._bus.connected

    def disconnects(self) -> Subscription:
        """See `bus.port.Bus`."""
        return self._bus.disconnects()


class AttentiveCore:
    """See `bus.port.Core`."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def publish(self, subject: str, data: bytes) -> None:
        """See `bus.port.Core`."""
        await attentive(self._core.publish(subject, data))

    async def request(self, subject: str, data: bytes, *, timeout: float) -> bytes:
        """See `bus.port.Core`."""
        return await attentive(self._core.request(subject, data, timeout=timeout))

    async def respond(self, message: Message, data: bytes) -> None:
        """See `bus.port.Core`."""
        await attentive(self._core.respond(message, data))

    def subscribe(self, subject: str, *, queue: str = "", limit: int = 1024) -> Subscription:
        """See `bus.port.Core`."""
        return self._core.subscribe(subject, queue=queue, limit=limit)


class AttentiveStore:
    """See `bus.port.Store`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def commit(self, batch: Sequence[Write], fence: Fence | None = None) -> Outcome:
        """See `bus.port.Store`."""
        return await attentive(self._store.commit(batch, fence))

    async def read(self, key: str) -> Entry | None:
        """See `bus.port.Store`."""
        return await attentive(self._store.read(key))

    async def read_near(self, key: str) -> Entry | None:
        """See `bus.port.Store`."""
        return await attentive(self._store.read_near(key))

    async def snapshot(self) -> Snapshot:
        """See `bus.port.Store`."""
        return await attentive(self._store.snapshot())

    def watch(self, pattern: str = ">") -> Watch:
        """See `bus.port.Store`."""
        return self._store.watch(pattern)

    async def info(self) -> StoreInfo:
        """See `bus.port.Store`."""
        return await attentive(self._store.info())


class AttentiveEvents:
    """See `bus.port.EventLog`."""

    def __init__(self, events: EventLog) -> None:
        self._events = events

    async def append(self, subject: str, data: bytes, message_id: str) -> int:
        """See `bus.port.EventLog`."""
        return await attentive(self._events.append(subject, data, message_id))

    def read(self, start: From, subjects: Sequence[str] = ("mesh.event.>",)) -> EventReader:
        """See `bus.port.EventLog`."""
        return self._events.read(start, subjects)

    async def info(self) -> StoreInfo:
        """See `bus.port.EventLog`."""
        return await attentive(self._events.info())
