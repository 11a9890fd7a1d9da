"""Following one store: subscribe, take a snapshot, apply what comes, and begin again whenever something may be missing.

The rule (DESIGN: snapshots): the watch is open before the snapshot is asked for; what it brings up to the snapshot's
sequence is skipped; a gap, or a hole in the sequences, or a server that says it has more than was seen, asks for a new
snapshot. A store that ends below what was seen before is never taken over: it was rolled back. From then on until all
that the store had is here, or while it does not answer, the follower knows that it is behind (`controller.wholeness`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Protocol

import structlog

from bus.logs import Waiting
from bus.port import Entry, Gap, Store, StoreInfo, Watch
from controller.extent import Extent
from controller.wholeness import Wholeness
from schemas.errors import MeshError, StoreMissing, Unreachable

COMPARE_EVERY = 2.0
"""Seconds between two looks at the server's last sequence: the last message can be lost without a gap."""

RETRY = 1.0
"""Seconds before a store that is missing or does not answer is asked again."""

SNAPSHOT_TRIES = 5

ANSWER_WITHIN = 2.0
"""Seconds after which a store that does not say how far it goes counts as silent."""

TOLD_AFTER = 1.0
"""Seconds for which a follower is behind without a word: most gaps are closed at once."""

log = structlog.get_logger()


class Sink(Protocol):
    """Where entries go."""

    @property
    def sequence(self) -> int:
        """Complete up to here."""
        ...

    def apply(self, entry: Entry) -> None:
        """Take one entry in."""
        ...

    def replace(self, entries: Iterable[Entry], sequence: int) -> None:
        """Take over a snapshot, complete as of `sequence`."""
        ...

    def may_replace(self, entries: tuple[Entry, ...], sequence: int) -> str:
        """Why a snapshot may not be taken over; "": it may."""
        ...

    def refuse(self, why: str) -> bool:
        """The stream's leader has confirmed that the store is so. Whether it is not to be trusted any more; else the
        snapshot is taken over."""
        ...


class Follower:
    """Keeps a sink level with a store. `trouble`: why it can't, in one line beginning with a code; "" while it can."""

    def __init__(self, name: str, store: Store, sink: Sink, moved: Callable[[], None]) -> None:
        self.name = name
        self.trouble = ""
        self.ready = asyncio.Event()
        """Set once a first snapshot was taken over."""
        self.whole = Wholeness()
        """By the loop's time."""
        self.extent = Extent()
        self._store = store
        self._sink = sink
        self._moved = moved
        self._lock = asyncio.Lock()
        self._behind = Waiting(log, "mirror.behind")

    async def run(self) -> None:
        """Follow for ever."""
        while True:
            try:
                await self._follow()
            except StoreMissing as error:
                self._say(f"store.missing: {error.message}")
            except MeshError as error:
                log.info("mirror.retried", store=self.name, why=error.message)
            await asyncio.sleep(RETRY)

    async def compare(self) -> None:
        """Look every now and then whether the server has more than was seen; for ever."""
        behind = -1
        while True:
            await asyncio.sleep(COMPARE_EVERY)
            self._tell_behind()
            try:
                known = self._sink.sequence  # what comes while it is asked may be more than it tells
                info = await self.ask()
                seen = self._sink.sequence
                if info.last < known or (info.last > seen and seen == behind) or self.trouble:
                    await self.resync("the server's last sequence differs")
                behind = seen if info.last > seen else -1
            except MeshError as error:
                self._say(f"{error.code}: {error.message}" if isinstance(error, StoreMissing) else self.trouble)

    async def resync(self, why: str, at_least: int = 0) -> None:
        """Take a new snapshot that shows `at_least` that sequence.

        Raises:
            Unreachable: there is none to be had now.
            StoreMissing: the store is not there.
        """
        self.whole.doubt(asyncio.get_running_loop().time())
        await self._take_snapshot(why, at_least)
        with suppress(MeshError):  # `compare` asks again
            await self.ask()

    async def _take_snapshot(self, why: str, at_least: int) -> None:
        async with self._lock:
            for attempt in range(SNAPSHOT_TRIES):
                await asyncio.sleep(0.1 * attempt)
                snapshot = await self._store.snapshot()
                if snapshot.sequence < at_least:
                    continue
                refusal = self._sink.may_replace(snapshot.entries, snapshot.sequence)
                if refusal:
                    # A stale replica answers like a store that was rolled back: the stream's leader tells them apart.
                    if snapshot.sequence < (await self._store.info()).last:
                        continue
                    if self._sink.refuse(refusal):
                        self._say(refusal)
                        return
                self._sink.replace(snapshot.entries, snapshot.sequence)
                log.debug("mirror.resynced", store=self.name, why=why, sequence=snapshot.sequence)
                self._say("")
                self.ready.set()
                self._moved()
                return
        raise Unreachable(f"no snapshot of {self.name} that shows sequence {max(at_least, self._sink.sequence)}")

    async def ask(self) -> StoreInfo:
        """How far the store goes, by its leader. Raises Unreachable, StoreMissing: nobody knows what is missing."""
        doubts, loop, known = self.whole.doubts, asyncio.get_running_loop(), self.extent.furthest
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                info = await self._store.info()
        except (MeshError, TimeoutError) as error:
            self.whole.doubt(loop.time())
            if isinstance(error, MeshError):
                raise
            raise Unreachable(f"{self.name} does not say how far it goes within {ANSWER_WITHIN:g} s") from None
        self.whole.told(info.last, doubts)
        self.extent.told(info.created, info.last, known)
        self._is_whole()
        return info

    def _is_whole(self) -> None:
        """Something was taken in, or the store has told how far it goes."""
        since = self.whole.behind_since
        if self.whole.shows(self._sink.sequence) and since is not None:
            seconds = asyncio.get_running_loop().time() - since
            (log.debug if seconds < TOLD_AFTER else log.info)("mirror.caught_up", store=self.name, seconds=seconds)
            self._behind.over()

    def _tell_behind(self) -> None:
        since = self.whole.behind_since
        if since is not None and asyncio.get_running_loop().time() - since >= TOLD_AFTER:
            self._behind.tell(f"not all that {self.name} has came, or it does not say how much that is")

    async def _follow(self) -> None:
        async with self._store.watch() as watch:
            await self.resync("started")
            await self._apply_all(watch)

    async def _apply_all(self, watch: Watch) -> None:
        while True:
            item = await watch.next()
            if isinstance(item, Gap):
                await self.resync(item.why)
            elif self.trouble:
                continue  # `compare` takes a snapshot as soon as this is a store to follow again
            elif item.sequence > self._sink.sequence + 1 and self._sink.sequence:
                await self.resync(f"a hole before {item.sequence}", item.sequence)
            elif item.sequence > self._sink.sequence:
                self._sink.apply(item)
                self._is_whole()
                self._moved()

    def distrust(self, why: str) -> None:
        """Somebody has proof that the store is not what was followed here."""
        self._sink.refuse(why)
        self._say(why)

    def _say(self, trouble: str) -> None:
        if trouble != self.trouble:
            self.trouble = trouble
            code, _, why = trouble.partition(": ")
            log.error(code, store=self.name, why=why) if trouble else log.info("store.recovered", store=self.name)
            self._moved()
