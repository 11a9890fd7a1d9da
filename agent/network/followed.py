"""One network as it is followed: subscribed to first, then read, then heard.

What was stored before the subscription stood is read, what was stored after it is heard, so nothing is missed. A read
is answered by any replica, and one that is behind shows what was. Where a record is older than what is held already, or
than what the leader has told of, that is known, and all is read again until it is not. Otherwise it is not known: so
what was read because something may be missing is read once more `AGAIN` later (agent/network/DESIGN.md: "What a read is
worth").
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from agent.guards import sleep_unless
from agent.network.model import View
from bus.logs import Waiting
from bus.port import Entry, Gap, Store, Watch
from schemas import subjects
from schemas.errors import MeshError, Unreachable

FETCH_EVERY = (15.0, 30.0)
AGAIN = 0.1
"""Seconds after which what was read is read once more: a third of what a task runs on after all have let go of it."""
RETRY = (0.1, 1.5)
"""Least and most seconds until a read that failed is tried again; doubled each time, jittered."""
AT_ONCE = 32
"""Records that are read at the same time."""

PUBLISHED = ""
"""In place of a network's name: the record of published ports, which every node follows."""


@dataclass(frozen=True)
class Desk:
    """What all networks share."""

    store: Store
    chance: random.Random
    room: asyncio.Semaphore
    waiting: Waiting
    view: Callable[[], View]
    told: Callable[[], tuple[int, str]]
    """The last record for this node that the leader has told of: its sequence, and its key ("": not known)."""
    take: Callable[[Entry], object]
    """Called with each entry that was read."""
    absent: Callable[[str], None]
    """Called with each key of which something is held, and which the store does not have."""
    hear: Callable[[Entry], None]
    """Called with each entry that was heard."""
    read: Callable[[], None]
    """Called whenever a network has been read."""


class Followed:
    """See the module. `network` may be `PUBLISHED`."""

    def __init__(self, network: str, desk: Desk) -> None:
        self.whole = False
        """Nothing is missing: it was read since the subscription stands without a break."""
        self.told = 0
        """What the leader had told before it was last read."""
        self._network = network
        self._desk = desk
        self._due = asyncio.Event()
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """It is followed no more."""
        self._stop.set()

    def look(self) -> None:
        """Something may have been lost on its way."""
        self._due.set()

    async def run(self) -> None:
        """Follow until `stop`."""
        patterns: tuple[str, ...] = (subjects.PUBLISH,)
        if self._network != PUBLISHED:
            patterns = (subjects.allocation_key(self._network), subjects.endpoints_all(self._network))
        async with AsyncExitStack() as stack:
            watches = [await stack.enter_async_context(self._desk.store.watch(pattern)) for pattern in patterns]
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._hear(watch)) for watch in watches]
                tasks.append(group.create_task(self._keep_reading()))
                await self._stop.wait()
                for task in tasks:
                    task.cancel()

    async def _hear(self, watch: Watch) -> None:
        async for item in watch:
            if not isinstance(item, Gap):
                self._desk.hear(item)
            else:
                self.whole = False
                self._due.set()

    async def _keep_reading(self) -> None:
        asked, pause = True, RETRY[0]
        while True:
            self._due.clear()
            told = self._desk.told()
            try:
                await self._expect(*told)
                await self._read()
            except MeshError as error:
                self._desk.waiting.tell(str(error))
                asked = await sleep_unless(self._due, pause * self._desk.chance.uniform(0.5, 1.0)) or asked
                pause = min(2 * pause, RETRY[1])
                continue
            pause = RETRY[0]
            if (asked or not self.whole) and not self._due.is_set():
                self.whole, self.told = True, told[0]
                self._desk.read()
            asked = await sleep_unless(self._due, AGAIN if asked else self._desk.chance.uniform(*FETCH_EVERY))

    async def _expect(self, sequence: int, key: str) -> None:
        """Only a replica that shows what the leader has told of is worth reading from. Raises Unreachable."""
        if not key:
            return
        async with self._desk.room:
            entry = await self._desk.store.read_near(key)
        if entry is not None and entry.sequence < sequence:
            raise Unreachable(f"a replica is behind: it has {entry.sequence} of {key}, {sequence} was told")

    async def _read(self) -> None:
        """First what is allotted, which names the services; then who answers for them, and for what was before."""
        if self._network == PUBLISHED:
            await self._get(subjects.PUBLISH)
            return
        await self._get(subjects.allocation_key(self._network))
        view = self._desk.view()
        allotted = view.allocations.get(self._network)
        services = set(allotted.services) if allotted is not None else set()
        services |= {each.service for each in view.endpoints.values() if each.network == self._network}
        await self._get_all(subjects.endpoints_key(self._network, service) for service in sorted(services))

    async def _get_all(self, keys: Iterable[str]) -> None:
        failed: list[Exception] = []
        try:
            async with asyncio.TaskGroup() as group:
                for key in keys:
                    group.create_task(self._get(key))
        except* MeshError as errors:
            failed.extend(errors.exceptions)
        if failed:
            raise failed[0]

    async def _get(self, key: str) -> None:
        async with self._desk.room:
            held = self._desk.view().sequences.get(key, 0)
            entry = await self._desk.store.read_near(key)
        if entry is None:
            if held:
                self._desk.absent(key)
            return
        if entry.sequence < held:
            raise Unreachable(f"a replica is behind: it has {entry.sequence} of {key}, after {held}")
        self._desk.take(entry)
