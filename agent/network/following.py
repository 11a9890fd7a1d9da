"""Follows the leader's records of the networks that this node uses, and keeps them on disk.

An entry is taken in if it is newer than what is held of its key; a tombstone is a decision, a missing record is none.
Networks come and go with their use: one that is used no more is let go of entirely, so that one that comes back begins
with nothing and not with what was. `level` is the sequence up to which nothing of what is followed is missing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Set

import msgspec
import structlog

from agent.files import Files
from agent.network.entries import backends_in, networks_in, of_generation, sound, with_entry, without
from agent.network.followed import AT_ONCE, PUBLISHED, Desk, Followed
from agent.network.model import View
from bus.logs import Waiting
from bus.port import Entry, Store
from schemas import subjects
from schemas.errors import BadMessage
from schemas.liveness import NOT_KNOWN
from schemas.wire import decode, encode

FILE = "networks.json"
NOTHING = NOT_KNOWN + 1
"""The level while nothing is missing, and nothing was told or heard yet."""
SAVE_EVERY = 0.5
"""Seconds between two saves while records change."""

log = structlog.get_logger()


class Following:
    """The records, as far as this agent has come."""

    def __init__(self, store: Store, files: Files, chance: random.Random, used: Callable[[], Set[str]]) -> None:
        """`used`: networks by which this node may be sending, besides those that every node has."""
        self.view = View()
        self.level = 0
        self.left: dict[str, int] = {}
        """Task -> sequence of the record that named it last as a backend, and names it no more."""
        self.changed = asyncio.Event()
        """Set with each change."""
        self.loaded = False
        """Whether there is anything to go by: records from the disk, or read."""
        self._files = files
        self._used = used
        self._look = asyncio.Event()
        self._waiting = Waiting(log, "networks.not_fetched")
        self._unsaved = asyncio.Event()
        self._told = (0, "")
        self._heard = 0
        self._missed, self._misses = self.view, 0
        """What was held when the leader said that something is missing, and how often it said so of that."""
        self._followed: dict[str, Followed] = {}
        self._desk = Desk(
            store=store,
            chance=chance,
            room=asyncio.Semaphore(AT_ONCE),
            waiting=self._waiting,
            view=lambda: self.view,
            told=lambda: self._told,
            take=self.take,
            absent=self._absent,
            hear=self._hear,
            read=self._rise,
        )

    async def load(self) -> None:
        """Take over what an earlier process had."""
        try:
            data = await self._files.read(FILE)
            self.view = sound(decode(data, View)) if data else self.view
            self.loaded = data is not None
        except (OSError, BadMessage) as error:
            log.error("networks.not_read", error=str(error))

    def look(self) -> None:
        """What is used may have changed."""
        self._look.set()

    def begin(self, generation: int) -> bool:
        """The store is of that generation; whether it was made anew since, so that all of it is read again.

        Its sequences may be below those of the old one. What is held stands until something new takes its place.
        """
        known = self.view.generation
        if generation <= known:
            return False
        self._unsaved.set()
        if not known:
            self.view = msgspec.structs.replace(self.view, generation=generation)
            return False
        log.info("networks.begun_anew", generation=generation)
        self.view = of_generation(self.view, generation)
        self.level, self._heard, self._told = 0, 0, (0, "")
        self.left.clear()
        for followed in self._followed.values():
            followed.whole = False
            followed.look()
        return True

    def told(self, sequence: int, key: str) -> None:
        """The leader's last record for this node. What it told before and has not come by now is looked for."""
        before, self._told = self._told, max(self._told, (sequence, key))
        first = self.level <= NOTHING < sequence
        if (self.level < before[0] or first) and self.whole:
            for followed in self._followed.values():
                followed.look()

    def judged(self, *, missing: bool) -> None:
        """The leader says whether what is held is what stands, where nothing is known to be missing here.

        If not, all is read with the second such answer in a row (the first may mean what has changed here since it was
        told), and where that changes nothing with the fourth, the eighth and so on: a replica may be behind.
        """
        self._misses = self._misses + 1 if missing and self.view is self._missed else int(missing)
        self._missed = self.view
        if self.whole and self._misses > 1 and self._misses.bit_count() == 1:
            log.info("networks.missed", level=self.level)
            for followed in self._followed.values():
                followed.look()

    def _absent(self, key: str) -> None:
        """There is nothing at a key of which something is held: what is held stands, but it is of another store."""
        if self._misses > 1:
            log.info("networks.of_another_store", key=key)
            self.view = msgspec.structs.replace(self.view, sequences={**self.view.sequences, key: 0})
            self.changed.set()
            self._unsaved.set()

    async def run(self) -> None:
        """Follow for ever."""
        self._followed = {}
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_saving())
            while True:
                self._look.clear()
                wanted = self._wanted()
                for network in sorted(self._followed.keys() - wanted):
                    self._followed.pop(network).stop()
                self._let_go(networks_in(self.view) - wanted)
                for network in sorted(wanted - self._followed.keys()):
                    followed = self._followed[network] = Followed(network, self._desk)
                    group.create_task(followed.run(), name=f"network {network}")
                self._rise()
                await self._look.wait()

    def _wanted(self) -> frozenset[str]:
        return frozenset({PUBLISHED, *self._used(), *self.view.everywhere})

    def _let_go(self, networks: frozenset[str]) -> None:
        if networks:
            self.view = without(self.view, networks)
            self.changed.set()
            self._unsaved.set()

    @property
    def whole(self) -> bool:
        """Whether nothing of what is followed is missing, as far as can be known."""
        return all((each := self._followed.get(network)) is not None and each.whole for network in self._wanted())

    def _hear(self, entry: Entry) -> None:
        self.take(entry)
        self._heard = max(self._heard, entry.sequence)
        self._rise()

    def _rise(self) -> None:
        """While nothing is missing, all has come up to what was heard last: entries are heard in their order."""
        if not self.whole:
            return
        read = min(self._followed[network].told for network in self._wanted())
        level = max(self.level, self._heard, read, NOTHING)
        if level > self.level or not self.loaded:
            self.level, self.loaded = level, True
            self.changed.set()
        self._waiting.over()

    def take(self, entry: Entry) -> bool:
        """Take an entry in if it is followed, and newer than what is held; whether it was."""
        followed = subjects.network_of(entry.key) in self._followed
        if not followed or entry.sequence <= self.view.sequences.get(entry.key, 0):
            return False
        try:
            view = with_entry(self.view, entry)
        except BadMessage as error:
            log.error("network.not_understood", key=entry.key, error=str(error))
            return False
        keys = {entry.key, *(f"endpoints.{key}" for key in self.view.endpoints.keys() - view.endpoints.keys())}
        for task in set[str]().union(*(backends_in(self.view, key) - backends_in(view, key) for key in keys)):
            self.left[task] = entry.sequence
        while len(self.left) > 10_000:
            self.left.pop(next(iter(self.left)))
        if entry.key == subjects.PUBLISH:
            self._look.set()
        self.view = view
        self.changed.set()
        self._unsaved.set()
        return True

    async def _keep_saving(self) -> None:
        while True:
            await self._unsaved.wait()
            self._unsaved.clear()
            try:
                await self._files.write(FILE, encode(self.view))
            except OSError as error:
                log.error("networks.not_saved", error=str(error))
            await asyncio.sleep(SAVE_EVERY)
