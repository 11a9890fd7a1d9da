"""A store in memory as one user sees it: `bus.port.Store` over `MemoryStream`, through the wire and its faults."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TypeVar

from bus.batches import check_batch
from bus.commits import Busy, Committed, Fence, Outcome, Unknown, Write
from bus.feed import Feed
from bus.matching import matches
from bus.memory_faults import CommitFault, Faults, Packet
from bus.memory_stream import MemoryStream
from bus.memory_wire import SERVER, Link, MemoryWire
from bus.permissions import check_controller, check_publish, check_read, check_subscribe, node_of
from bus.port import Entry, Gap, Snapshot, StoreInfo, Watch
from schemas.clock import Clock
from schemas.errors import Refused, StoreMissing, Unreachable

R = TypeVar("R")

REQUEST_TIMEOUT = 2.0
"""Seconds that a store's client waits for the server."""

WATCH_CHECK = 2.0
"""Seconds after which a watch that lost its last message finds out (DESIGN: snapshots)."""

WATCH_LIMIT = 65_536
"""Entries that a watch keeps for a slow reader; then it says Gap."""


class StoreHub:
    """The server's side of one store: the stream, who watches it, whether it takes writes now."""

    def __init__(self, names: tuple[str, str, str], wire: MemoryWire, faults: Faults, clock: Clock) -> None:
        self.name, self.prefix, self.republished = names
        self.wire = wire
        self.faults = faults
        self.stream: MemoryStream | None = MemoryStream()
        self.paused_until = 0.0
        self.stored_late = False
        """Whether what could not be stored in time is stored when the pause is over."""
        self.full = False
        """Whether it has no room: each commit is refused."""
        self.leaderless = False
        """Whether nobody answers for the stream's leader until then."""
        self._clock = clock
        self._watches: dict[MemoryWatch, None] = {}
        self.on_commit: Callable[[str, Sequence[Write], Fence | None, Outcome], None] | None = None
        """Told of every commit as the server judged it: for checkers of invariants."""
        self.on_send: Callable[[Sequence[Write], Fence | None], None] | None = None
        """Told of every commit as its sender sends it; the server judges the same batch."""

    def commit(self, user: str, batch: Sequence[Write], fence: Fence | None) -> Outcome:
        """Judge and store a batch now, and republish what was made."""
        if self.stream is None:
            return Unknown("no such stream")
        outcome, made = self.stream.commit(batch, fence, self._clock.wall())
        if self.on_commit is not None:
            self.on_commit(user, batch, fence, outcome)
        for entry in made:
            for watch in list(self._watches):
                self._republish(watch, entry)
        return outcome

    def commit_late(self, user: str, batch: Sequence[Write], fence: Fence | None) -> None:
        """Judge and store a batch in a while, while the stream takes writes."""
        schedule = self.wire.schedule

        def judge() -> None:
            if self.paused_until > asyncio.get_running_loop().time():
                schedule.at(self.paused_until, judge)
            else:
                self.commit(user, batch, fence)

        schedule.after(self.faults.lateness(), judge)

    def info(self) -> StoreInfo:
        """What the server tells of the stream. Raises StoreMissing."""
        stream = self.existing()
        return StoreInfo(stream.first, stream.last, stream.created, leader="memory", now=self._clock.wall())

    def existing(self) -> MemoryStream:
        """The stream. Raises StoreMissing."""
        if self.stream is None:
            raise StoreMissing(f"there is no stream {self.name}")
        return self.stream

    def replace(self, stream: MemoryStream | None) -> None:
        """Another stream stands here from now on: lost, restored, or rolled back."""
        self.stream = stream
        self.wire.schedule.after(WATCH_CHECK, lambda: self.gap_all("the stream went back or was lost"))

    def add(self, watch: MemoryWatch) -> None:
        """A watcher comes."""
        self._watches[watch] = None

    def remove(self, watch: MemoryWatch) -> None:
        """A watcher goes."""
        self._watches.pop(watch, None)

    def drop_user(self, owner: object) -> None:
        """All watches of one connection go."""
        for watch in [each for each in self._watches if each.owner is owner]:
            self.remove(watch)

    def gap_all(self, why: str, user: str = "") -> None:
        """Every watch (of `user`) says that it may have missed something."""
        for watch in list(self._watches):
            if user in ("", watch.user):
                watch.gap(why)

    def _republish(self, watch: MemoryWatch, entry: Entry) -> None:
        if not matches(watch.pattern, entry.key):
            return
        packet = Packet(sender=SERVER, receiver=watch.user, subject=self.republished + entry.key)
        lost = (lambda: self.lost(watch, entry.sequence)) if watch.pattern == ">" else None
        self.wire.send(packet, lambda: watch.deliver(entry), lost)

    def lost(self, watch: MemoryWatch, sequence: int) -> None:
        """An entry never reached a watch of everything: it finds out by the next, or by asking."""

        def check() -> None:
            if watch in self._watches and watch.seen < sequence:
                if self.wire.link(watch.user).open:
                    watch.gap("the last message was lost")
                else:
                    self.wire.schedule.after(WATCH_CHECK, check)

        self.wire.schedule.after(WATCH_CHECK, check)


class MemoryWatch:
    """Entries as they are stored; a hole in the sequences gives a Gap."""

    def __init__(self, hub: StoreHub, owner: object, user: str, pattern: str) -> None:
        self.owner = owner
        self.user = user
        self.pattern = pattern
        self.seen = 0
        self._hub = hub
        self._feed: Feed[Entry | Gap] = Feed(WATCH_LIMIT)

    def deliver(self, entry: Entry) -> None:
        """An entry has arrived."""
        whole = self.pattern == ">"
        if entry.sequence == self.seen or (whole and entry.sequence < self.seen):
            return
        if whole and entry.sequence != self.seen + 1:
            self._feed.push(Gap(f"{self.seen + 1}..{entry.sequence - 1} did not come"))
        self.seen = entry.sequence
        if not self._feed.push(entry):
            self._feed.replace_all(Gap("the reader is too slow"))

    def gap(self, why: str) -> None:
        """Something may be missing."""
        self.seen = 0 if self._hub.stream is None else self._hub.stream.last
        self._feed.push(Gap(why))

    async def next(self) -> Entry | Gap:
        """The next entry or gap."""
        return await self._feed.next()

    def __aiter__(self) -> MemoryWatch:
        return self

    async def __anext__(self) -> Entry | Gap:
        return await self._feed.next()

    async def __aenter__(self) -> MemoryWatch:
        self.seen = 0 if self._hub.stream is None else self._hub.stream.last
        self._hub.add(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hub.remove(self)


async def call(faults: Faults, link: Link, act: Callable[[], R]) -> R:
    """Ask the server: there, `act`, and back. Raises Unreachable as a real client would."""
    if not link.connected:
        raise Unreachable("not connected")
    if not link.outbound:
        await asyncio.sleep(REQUEST_TIMEOUT)
        raise Unreachable(f"no answer within {REQUEST_TIMEOUT:g} s")
    await asyncio.sleep(faults.latency())
    answer = act()
    await asyncio.sleep(faults.latency())
    if not (link.inbound and link.connected):
        await asyncio.sleep(REQUEST_TIMEOUT)
        raise Unreachable(f"no answer within {REQUEST_TIMEOUT:g} s")
    return answer


def void(_: object) -> None:
    """Let go of a result that nobody waits for."""


class MemoryStore:
    """One user's view of a store. An agent may only what its real permissions allow."""

    def __init__(self, hub: StoreHub, user: str, owner: object) -> None:
        self._hub = hub
        self._user = user
        self._owner = owner

    async def commit(self, batch: Sequence[Write], fence: Fence | None = None) -> Outcome:
        """See `bus.port.Store`."""
        check_batch(batch)
        if node_of(self._user) is not None:
            for write in batch:
                check_publish(self._user, self._hub.prefix + write.key)
        if self._hub.on_send is not None:
            self._hub.on_send(batch, fence)
        try:
            fault = self._hub.faults.commit_fault()
            if await self._wait_for_writes(batch, fence):
                return Unknown("no answer: the store takes no writes")
            return await self._call(lambda: self._judge(batch, fence, fault))
        except Unreachable as error:
            return Unknown(error.message)

    async def read(self, key: str) -> Entry | None:
        """See `bus.port.Store`."""
        check_controller(self._user, "read from the stream's leader")
        return await self._ask_leader(lambda: self._hub.existing().get(key))

    async def read_near(self, key: str) -> Entry | None:
        """See `bus.port.Store`."""
        check_read(self._user, key)
        return await self._call(lambda: self._hub.existing().get(key, self._hub.faults.read_lag))

    async def snapshot(self) -> Snapshot:
        """See `bus.port.Store`."""
        check_controller(self._user, "take a snapshot")
        snapshot = await self._ask_leader(lambda: self._hub.existing().snapshot(self._hub.faults.snapshot_lag))
        await asyncio.sleep(self._hub.faults.snapshot_takes)
        return snapshot

    def watch(self, pattern: str = ">") -> Watch:
        """See `bus.port.Store`."""
        check_subscribe(self._user, self._hub.republished + pattern)
        return MemoryWatch(self._hub, self._owner, self._user, pattern)

    async def info(self) -> StoreInfo:
        """See `bus.port.Store`."""
        check_controller(self._user, "ask for the stream's state")
        return await self._ask_leader(self._hub.info)

    async def _ask_leader(self, act: Callable[[], R]) -> R:
        """What only the stream's leader answers, or confirms."""
        if self._hub.leaderless and self._hub.paused_until > asyncio.get_running_loop().time():
            await asyncio.sleep(REQUEST_TIMEOUT)
            raise Unreachable("the store has no leader")
        return await self._call(act)

    async def _call(self, act: Callable[[], R]) -> R:
        return await call(self._hub.faults, self._hub.wire.link(self._user), act)

    async def _wait_for_writes(self, batch: Sequence[Write], fence: Fence | None) -> bool:
        """Wait while the store takes no writes; True: for too long."""
        wait = self._hub.paused_until - asyncio.get_running_loop().time()
        if wait > REQUEST_TIMEOUT:
            if self._hub.stored_late:
                until = self._hub.paused_until
                self._hub.wire.schedule.at(until, lambda: void(self._hub.commit(self._user, batch, fence)))
            await asyncio.sleep(REQUEST_TIMEOUT)
            return True
        await asyncio.sleep(max(0.0, wait))
        return False

    def _judge(self, batch: Sequence[Write], fence: Fence | None, fault: CommitFault | None) -> Outcome:
        if self._hub.full:
            raise Refused("the store refuses a write: insufficient resources")
        if fault == "busy":
            return Busy("another write is in flight")
        if fault == "unknown-not-stored":
            return Unknown("no answer in time")
        if fault == "unknown-stored-late":
            self._hub.commit_late(self._user, batch, fence)
            return Unknown("no answer in time")
        outcome = self._hub.commit(self._user, batch, fence)
        return Unknown("no answer in time") if fault == "unknown-stored" and isinstance(outcome, Committed) else outcome
