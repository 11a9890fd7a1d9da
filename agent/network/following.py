"""Follows the leader's records of networks, and keeps them on disk.

An entry is taken in if it is newer than what is held of its key; a tombstone is a decision, a missing record is none.
What a watch may have missed is fetched: at the start, after a gap, when other networks are used, when the leader says
that there is more, and every now and then. `level` is the sequence up to which nothing is missing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import msgspec
import structlog

from agent.files import Files
from agent.guards import sleep_unless
from agent.network.model import View
from bus.logs import Waiting
from bus.port import Entry, Gap, Store
from schemas import subjects
from schemas.errors import BadMessage, MeshError
from schemas.network import AllocationRecord, EndpointsRecord, PublishRecord
from schemas.wire import decode, encode

FILE = "networks.json"
FETCH_EVERY = (15.0, 30.0)
RETRY = (0.5, 1.5)
AT_ONCE = 32
"""Records that are fetched at the same time."""
SAVE_EVERY = 0.5
"""Seconds between two saves while records change."""

log = structlog.get_logger()


class Following:
    """The records, as far as this agent has come."""

    def __init__(self, store: Store, files: Files, chance: random.Random, used: Callable[[], set[str]]) -> None:
        self.view = View()
        self.level = 0
        self.left: dict[str, int] = {}
        """Task -> sequence of the record that named it last as a backend, and names it no more."""
        self.changed = asyncio.Event()
        """Set with each change."""
        self.loaded = False
        """Whether there is anything to go by: records from the disk, or fetched."""
        self._store = store
        self._files = files
        self._chance = chance
        self._used = used
        self._ask = asyncio.Event()
        self._waiting = Waiting(log, "networks.not_fetched")
        self._unsaved = asyncio.Event()
        self._told = 0

    async def load(self) -> None:
        """Take over what an earlier process had."""
        try:
            data = await self._files.read(FILE)
            self.view = decode(data, View) if data else self.view
            self.loaded = data is not None
        except (OSError, BadMessage) as error:
            log.error("networks.not_read", error=str(error))

    def fetch(self) -> None:
        """Something may be missing."""
        self._ask.set()

    def told(self, sequence: int) -> None:
        """The leader has records up to that sequence."""
        if sequence > self._told:
            self._told = sequence

    async def run(self) -> None:
        """Follow for ever."""
        async with asyncio.TaskGroup() as group:
            for pattern in (subjects.ALLOCATION_ALL, subjects.ENDPOINTS_ALL):
                group.create_task(self._hear(pattern))
            group.create_task(self._keep_fetching())
            group.create_task(self._keep_saving())

    async def _hear(self, pattern: str) -> None:
        async with self._store.watch(pattern) as watch:
            self.fetch()
            async for item in watch:
                if isinstance(item, Gap):
                    self.fetch()
                else:
                    self.take(item)

    async def _keep_fetching(self) -> None:
        while True:
            self._ask.clear()
            told = self._told
            pause = self._chance.uniform(*FETCH_EVERY)
            try:
                await self._fetch_all()
                self._waiting.over()
                self.loaded = True
                self.level = max(self.level, told)
                self.changed.set()
            except MeshError as error:
                self._waiting.tell(str(error))
                pause = self._chance.uniform(*RETRY)
            await sleep_unless(self._ask, pause)

    async def _fetch_all(self) -> None:
        """First what is allotted, which names the services; then who answers for them."""
        await self._fetch([subjects.PUBLISH])
        networks = sorted(self._used() | self.view.everywhere)
        await self._fetch([subjects.allocation_key(network) for network in networks])
        allotted = [self.view.allocations[network] for network in networks if network in self.view.allocations]
        pairs = [(each.network, service) for each in allotted for service in each.services]
        await self._fetch([subjects.endpoints_key(network, service) for network, service in pairs])

    async def _fetch(self, keys: list[str]) -> None:
        for start in range(0, len(keys), AT_ONCE):
            failed: list[Exception] = []
            try:
                async with asyncio.TaskGroup() as group:
                    reads = [group.create_task(self._store.read_near(key)) for key in keys[start : start + AT_ONCE]]
            except* MeshError as errors:
                failed.extend(errors.exceptions)
            if failed:
                raise failed[0]
            for read in reads:
                entry = read.result()
                if entry is not None:
                    self.take(entry)

    def take(self, entry: Entry) -> bool:
        """Take an entry in if it is newer than what is held; whether it was."""
        if entry.sequence <= self.view.sequences.get(entry.key, 0):
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
        self.view = view
        self.level = max(self.level, entry.sequence) if self.loaded else self.level
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


def with_entry(view: View, entry: Entry) -> View:
    """The view with an entry taken in. Raises BadMessage."""
    noun, _, name = entry.key.partition(".")
    sequences = {**view.sequences, entry.key: entry.sequence}
    if entry.key == subjects.PUBLISH:
        record = decode(entry.value, PublishRecord) if entry.value is not None else PublishRecord()
        return msgspec.structs.replace(view, publish=record, sequences=sequences)
    if noun == "alloc":
        allocations = {key: each for key, each in view.allocations.items() if key != name}
        endpoints = view.endpoints
        if entry.value is not None:
            allocations[name] = allotted = decode(entry.value, AllocationRecord)
            endpoints = {
                key: each for key, each in endpoints.items() if not _given_up(view, key, each, allotted, entry)
            }
        return msgspec.structs.replace(view, allocations=allocations, endpoints=endpoints, sequences=sequences)
    endpoints = {key: each for key, each in view.endpoints.items() if key != name}
    if entry.value is not None:
        endpoints[name] = decode(entry.value, EndpointsRecord)
    return msgspec.structs.replace(view, endpoints=endpoints, sequences=sequences)


def _given_up(view: View, key: str, held: EndpointsRecord, allotted: AllocationRecord, entry: Entry) -> bool:
    """Whether a later allotment has no such service any more: its end was not heard, its address may be another's."""
    ours = held.network == allotted.network and held.service not in allotted.services
    return ours and view.sequences.get(f"endpoints.{key}", 0) < entry.sequence


def backends_in(view: View, key: str) -> set[str]:
    """Tasks that the record at a key names."""
    record = view.endpoints.get(key.removeprefix("endpoints."))
    return {each.task for each in record.backends} if record is not None else set()
