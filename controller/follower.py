"""Following one store: subscribe, take a snapshot, apply what comes, and begin again whenever something may be missing.

The rule (DESIGN: snapshots): the watch is open before the snapshot is asked for; what it brings up to the snapshot's
sequence is skipped; a gap, or a hole in the sequences, or a server that says it has more than was seen, asks for a new
snapshot. A store that ends below what was seen before is never taken over: it was rolled back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

import structlog

from bus.port import Entry, Gap, Store, Watch
from schemas.errors import MeshError, StoreMissing, Unreachable

COMPARE_EVERY = 2.0
"""Seconds between two looks at the server's last sequence: the last message can be lost without a gap."""

RETRY = 1.0
"""Seconds before a store that is missing or does not answer is asked again."""

SNAPSHOT_TRIES = 5

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
        self._store = store
        self._sink = sink
        self._moved = moved
        self._lock = asyncio.Lock()

    async def run(self) -> None:
        """Follow for ever."""
        while True:
            try:
                await self._follow()
            except StoreMissing as error:
                self._say(f"store.missing: {error.message}")
            except Unreachable as error:
                log.info("mirror.retried", store=self.name, why=error.message)
            await asyncio.sleep(RETRY)

    async def compare(self) -> None:
        """Look every now and then whether the server has more than was seen; for ever."""
        behind = -1
        while True:
            await asyncio.sleep(COMPARE_EVERY)
            try:
                info = await self._store.info()
                seen = self._sink.sequence
                if info.last < seen or (info.last > seen and seen == behind) or self.trouble:
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
