"""The warm mirror: both stores as this controller sees them, on followers just as on the leader.

The world changes only by what stands here. Listeners hear every record change (the election, the events), marks gather
what may need a decision, and `reached` waits until the mirror shows a sequence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TypeAlias

import structlog

from bus.port import Bus, Entry
from controller.dirtying import Marks, dirty_by, dirty_by_observation
from controller.follower import Follower
from controller.records import Garbage, Records, Seen, observed_of
from controller.world import Dirty
from schemas import subjects
from schemas.errors import BadMessage, TimedOut
from schemas.observation import Observation
from schemas.records import MeshRecord
from schemas.wire import decode

log = structlog.get_logger()

DOUBT = 15.0
"""Seconds for which a store that seems to be rolled back may turn out to have been told of by a deposed server."""

Listener: TypeAlias = Callable[[Seen], None]


class Mirror:
    """Records and observations, kept level with the stores by `run`."""

    def __init__(self, bus: Bus) -> None:
        self.records = Records()
        self.observations: dict[str, Observation] = {}
        self.counters: dict[str, int] = {}
        """Node -> the counter of its observation, by which its agent sees whether an older one was stored late. Only
        the agent can tell: counters begin anew, below those that were used, where its disk was full."""
        self.listeners: list[Listener] = []
        self.wake = asyncio.Event()
        """Set whenever something has become dirty."""
        self._marks = Marks()
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self.lacks = ("", 0)
        """A key of which a later write was seen than the store knows now, and that write's sequence; "": none."""
        self.state = Follower("state", bus.state, _StateSink(self), self._moved)
        self.observed = Follower("observed", bus.observed, _ObservedSink(self), self._moved)

    @property
    def sequence(self) -> int:
        """The sequence of the state stream up to which the mirror is complete."""
        return self.records.sequence

    @property
    def trouble(self) -> str:
        """Why the mirror is not to be trusted: "store.missing: ..." or "store.rolled_back: ..."; "" if it is."""
        return self.state.trouble or self.observed.trouble

    @property
    def unseen_since(self) -> float | None:
        """Loop time since which something is known to be missing here, or may be; None: all is here."""
        known = (self.state.whole.behind_since, self.observed.whole.behind_since)
        return min((each for each in known if each is not None), default=None)

    async def run(self) -> None:
        """Follow both stores for ever."""
        async with asyncio.TaskGroup() as group:
            for follower in (self.state, self.observed):
                group.create_task(follower.run(), name=f"mirror {follower.name}")
                group.create_task(follower.compare(), name=f"compare {follower.name}")

    async def resync(self, why: str, at_least: int = 0) -> None:
        """Take new snapshots of both; everything is dirty. Raises Unreachable, StoreMissing."""
        await self.state.resync(why, at_least)
        await self.observed.resync(why)
        self.mark(Dirty(everything=True))

    async def reached(self, sequence: int, *, timeout: float = 5.0) -> None:
        """Wait until the mirror shows `sequence`. Raises TimedOut."""
        if self.records.sequence >= sequence:
            return
        waiter = (sequence, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(timeout):
                await waiter[1]
        except TimeoutError:
            text = f"this controller's mirror is at {self.records.sequence}, not yet at {sequence} after {timeout:g} s"
            raise TimedOut(text, hint="try again; another controller may answer") from None
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def mark(self, dirty: Dirty) -> None:
        """Ask for a decision, and wake whoever decides."""
        self._marks.add(dirty)
        if self._marks:
            self.wake.set()

    def take_dirty(self) -> Dirty:
        """What has become dirty since the last time."""
        self.wake.clear()
        return self._marks.take()

    def seen(self, change: Seen | Garbage | None) -> None:
        """A record has changed: mark, and tell the listeners."""
        match change:
            case Seen():
                self.mark(dirty_by(change))
                for listener in self.listeners:
                    listener(change)
            case Garbage(key, sequence, why):
                log.error("record.refused", key=key, sequence=sequence, why=why)
            case None:
                pass

    def _moved(self) -> None:
        for sequence, future in self._waiters:
            if sequence <= self.records.sequence and not future.done():
                future.set_result(None)


class _StateSink:
    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._rolled_back = ""
        self._refused_at = 0.0

    @property
    def sequence(self) -> int:
        return self._mirror.records.sequence

    def apply(self, entry: Entry) -> None:
        self._mirror.seen(self._mirror.records.apply(entry))

    def replace(self, entries: Iterable[Entry], sequence: int) -> None:
        self._mirror.lacks = ("", 0)
        for change in self._mirror.records.replace(entries, sequence):
            self._mirror.seen(change)

    def may_replace(self, entries: tuple[Entry, ...], sequence: int) -> str:
        """A store without identity is nobody's; one of a lower generation, or shorter than seen, was rolled back. So
        was one that has grown since, and does not know a write that was seen: a mirror of both would be a mix.

        Once rolled back it stays so, however long it grows, until a restore has raised its generation. But a server
        that led the stream, and does not know that it does no more, tells of a shorter one, too: for `DOUBT` seconds
        a store that gets as far as was seen, and contradicts nothing of it, is taken for what it was.
        """
        mesh = _mesh_in(entries)
        known = self._mirror.records.mesh
        if mesh is None:
            return "store.missing: the state stream holds no readable `mesh` record"
        if known is None:
            return ""
        if mesh.mesh_id != known.mesh_id:
            return f"store.foreign: the store is of mesh {mesh.mesh_id}, this controller is of {known.mesh_id}"
        seen = (known.generation, self._mirror.records.sequence)
        key = self._unknown_to(entries) if mesh.generation == known.generation else ""
        at = self._mirror.records.sequence_of(key) or 0
        self._mirror.lacks = (key, at)
        if mesh.generation > known.generation:
            self._rolled_back = ""
        elif (mesh.generation, sequence) < seen:
            ends = (mesh.generation, sequence)
            return f"store.rolled_back: the store ends at {ends}, this controller has seen {seen}"
        elif self._rolled_back and self._as_seen(entries):
            self._rolled_back = ""
        elif not self._rolled_back and key:
            return f"store.rolled_back: the store does not know what this controller has seen: {key} at {at}"
        return self._rolled_back

    def refuse(self, why: str) -> bool:
        if why.startswith("store.rolled_back"):
            self._refused_at = self._refused_at if self._rolled_back else asyncio.get_running_loop().time()
            self._rolled_back = why
        return True

    def _unknown_to(self, entries: tuple[Entry, ...]) -> str:
        """The first key of which a later write was seen than a store has that goes as far as was seen; "": none."""
        of = self._mirror.records.sequence_of
        return next((each.key for each in entries if each.sequence < (of(each.key) or 0)), "")

    def _as_seen(self, entries: tuple[Entry, ...]) -> bool:
        """Whether nothing in it contradicts what was seen, soon after it seemed to be rolled back."""
        if asyncio.get_running_loop().time() - self._refused_at > DOUBT:
            return False
        records = self._mirror.records
        return all(
            records.sequence_of(each.key) == each.sequence for each in entries if each.sequence <= records.sequence
        )


class _ObservedSink:
    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self.sequence = 0

    def apply(self, entry: Entry) -> None:
        self.sequence = max(self.sequence, entry.sequence)
        self._take(entry)

    def replace(self, entries: Iterable[Entry], sequence: int) -> None:
        entries = list(entries)
        for node in set(self._mirror.observations) - {entry.key for entry in entries}:
            del self._mirror.observations[node]
            self._mirror.counters.pop(node, None)
            self._mirror.mark(Dirty(nodes=frozenset({node}), everything=True))
        for entry in entries:
            self._take(entry)
        self.sequence = sequence

    def may_replace(self, entries: tuple[Entry, ...], sequence: int) -> str:  # noqa: ARG002 (all nodes tell again)
        """What was seen is not taken back for what a replica shows that is behind: tasks would seem not to be up."""
        return f"it ends at {sequence}, {self.sequence} was seen" if sequence < self.sequence else ""

    def refuse(self, why: str) -> bool:
        """What was lost with the store comes again."""
        log.warning("observations.lost", why=why)
        return False

    def _take(self, entry: Entry) -> None:
        observation = observed_of(entry)
        if isinstance(observation, Garbage):
            log.error("observation.refused", node=observation.key, why=observation.why)
        elif observation is None:
            self._mirror.observations.pop(entry.key, None)
            self._mirror.counters.pop(entry.key, None)
        else:
            self._mirror.counters[entry.key] = observation.counter
            old = self._mirror.observations.get(entry.key)
            self._mirror.observations[entry.key] = observation
            self._mirror.mark(dirty_by_observation(old, observation))


def _mesh_in(entries: tuple[Entry, ...]) -> MeshRecord | None:
    value = next((entry.value for entry in entries if entry.key == subjects.MESH), None)
    try:
        return decode(value, MeshRecord) if value else None
    except BadMessage:
        return None
