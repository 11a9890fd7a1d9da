"""A watch over what a stream republishes: entries in order, with a Gap wherever one may be missing.

Core messages can be lost, the last one without a hole to show it. A watch of everything therefore compares its place
with STREAM.INFO every two seconds; a watch of less (an agent's) can only tell that it was disconnected, before the
first entry that comes over the new connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType

from nats.aio.msg import Msg

from bus.feed import Feed
from bus.nats_line import Line
from bus.nats_listening import Listener
from bus.nats_wire import entry_of
from bus.port import Entry, Gap, StoreInfo
from schemas.errors import BadMessage, Refused, StoreMissing, Unreachable

LIMIT = 65_536
"""Entries kept for a slow reader; then it is told a Gap."""

COMPARE_EVERY = 2.0
IN_FLIGHT = 0.2
"""Seconds that a message may still be on its way after STREAM.INFO has told of it."""


class NatsWatch:
    """See `bus.port.Watch`."""

    def __init__(
        self,
        line: Line,
        republished: str,
        prefix: str,
        pattern: str,
        info: Callable[[], Awaitable[StoreInfo]],
    ) -> None:
        self._line = line
        self._prefix = prefix
        self._whole = pattern == ">"
        self._info = info
        self._listener = Listener(republished + pattern, self._deliver)
        self._feed: Feed[Entry | Gap] = Feed(LIMIT)
        self._place: int | None = None
        """The last sequence delivered; None: not known yet, entries wait in `_early`."""
        self._early: list[Entry] = []
        self._created = ""
        self._reconnected = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def next(self) -> Entry | Gap:
        """The next entry or gap."""
        return await self._feed.next()

    def __aiter__(self) -> NatsWatch:
        return self

    async def __anext__(self) -> Entry | Gap:
        return await self._feed.next()

    async def __aenter__(self) -> NatsWatch:
        try:
            await self._line.listen(self._listener)
            self._line.on_connect(self._on_connect)
            if self._whole:
                if not await self._find_place():
                    self._reconnected.set()
                self._task = self._line.start(self._compare())
        except BaseException:
            await self._leave()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave()

    async def _leave(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._line.off_connect(self._on_connect)
        await self._line.unlisten(self._listener)

    def _on_connect(self) -> None:
        if self._whole:
            self._place = None
            self._reconnected.set()
        else:
            self._feed.push(Gap("reconnected"))

    def _deliver(self, message: Msg) -> None:
        entry = entry_of(message.headers, message.data, self._prefix)
        if entry is None:
            return
        if not self._whole:
            if not self._line.up.is_set():
                self._feed.push(Gap("another connection, which is not quite up"))
            self._push(entry)
        elif self._place is None:
            if len(self._early) < LIMIT:  # the hole that a dropped one leaves is told as a Gap
                self._early.append(entry)
        else:
            self._in_order(entry, self._place)

    def _in_order(self, entry: Entry, place: int) -> None:
        if entry.sequence <= place:
            return
        if entry.sequence != place + 1:
            self._feed.push(Gap(f"{place + 1}..{entry.sequence - 1} did not come"))
        self._place = entry.sequence
        self._push(entry)

    def _push(self, entry: Entry) -> None:
        if not self._feed.push(entry):
            self._feed.replace_all(Gap("the reader is too slow"))

    async def _compare(self) -> None:
        """Find the place again after a reconnection; now and then look whether the last message was lost."""
        while True:
            try:
                async with asyncio.timeout(COMPARE_EVERY):
                    await self._reconnected.wait()
            except TimeoutError:
                await self._look()
                continue
            self._reconnected.clear()
            if await self._find_place():
                self._feed.push(Gap("reconnected"))
                self._deliver_early()
            else:
                await asyncio.sleep(IN_FLIGHT)
                self._reconnected.set()

    async def _look(self) -> None:
        info = await self._ask()
        if info is None or self._place is None:
            return
        if info.created != self._created or info.last < self._place:
            self._created = info.created
            self._jump(info.last, "the stream went back or was made anew")
            return
        await asyncio.sleep(IN_FLIGHT)
        if self._place is not None and self._place < info.last:
            self._jump(info.last, "the last message was lost")

    def _jump(self, place: int, why: str) -> None:
        self._place = place
        self._feed.push(Gap(why))

    async def _find_place(self) -> bool:
        """Ask the leader where the stream ends now, being subscribed already."""
        info = await self._ask()
        if info is None:
            return False
        self._created = info.created
        self._place = info.last
        return True

    def _deliver_early(self) -> None:
        early, self._early = self._early, []
        for entry in early:
            self._in_order(entry, self._place or 0)

    async def _ask(self) -> StoreInfo | None:
        try:
            return await self._info()
        except (Unreachable, StoreMissing, Refused, BadMessage):
            return None
