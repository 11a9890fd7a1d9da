"""The bus in memory: product code for the simulator and for tests. No threads, no I/O, no chance but the seed's.

`MemoryBroker` is the NATS cluster with its streams; `connect(user)` gives one process its `Bus`. Every fault that the
real bus was seen to have can be produced: single ones through the broker's methods, random ones through `faults`.
Users are known by name: `agent-<node>` is held to the permissions of a real agent.
"""

from __future__ import annotations

import asyncio
import random
from functools import partial
from types import TracebackType

from bus.commits import Put
from bus.feed import Feed
from bus.memory_core import CoreHub, MemoryCore
from bus.memory_events import EventHub, MemoryEvents
from bus.memory_faults import ANYONE, Faults, Packet, Rule
from bus.memory_store import MemoryStore, StoreHub
from bus.memory_stream import MemoryStream
from bus.memory_wire import SERVER, MemoryWire
from bus.permissions import check_controller
from bus.port import CLOSED, Bus, Core, EventLog, Message, Store, Subscription
from schemas import subjects
from schemas.clock import Clock
from schemas.records import MeshRecord
from schemas.wire import encode

EPOCH_OF_LOOPS = 1_790_000_000.0
"""What the default clock calls loop time 0: a moment in 2026."""

PINGS = 3.0
"""Seconds after which a client finds out by itself that its server has stalled (`bus.nats_lives`)."""


class LoopClock:
    """The running loop's time: virtual where the loop's is."""

    def wall(self) -> float:
        """Seconds since 1970, as if loop time 0 were a fixed moment."""
        return EPOCH_OF_LOOPS + self.monotonic()

    def monotonic(self) -> float:
        """The loop's time; 0 while no loop runs."""
        try:
            return asyncio.get_running_loop().time()
        except RuntimeError:
            return 0.0


class MemoryBroker:
    """A whole NATS cluster with the streams of one mesh."""

    def __init__(
        self,
        rng: random.Random | None = None,
        *,
        clock: Clock | None = None,
        mesh_id: str = "memory",
        create: bool = True,
    ) -> None:
        rng = rng or random.Random(0)  # noqa: S311 (no secret: a seed that repeats)
        self.clock: Clock = clock or LoopClock()
        self.faults = Faults(rng)
        self.wire = MemoryWire(self.faults)
        self.core = CoreHub(self.wire, rng)
        self.state = self._store(subjects.STATE_STREAM, subjects.STATE_PREFIX, subjects.STATE_REPUBLISHED)
        self.observed = self._store(subjects.OBSERVED_STREAM, subjects.OBSERVED_PREFIX, subjects.OBSERVED_REPUBLISHED)
        self.events = EventHub(self.wire, self.faults, self.clock)
        self._advised: dict[MemoryAdvisories, None] = {}
        self._buses: list[MemoryBus] = []
        if create:
            self.create_mesh(mesh_id)
        else:
            self.state.stream = self.observed.stream = None
            self.events.exists = False

    def connect(self, user: str) -> Bus:
        """A process of `user` connects (again)."""
        link = self.wire.link(user)
        link.connected = True
        bus = MemoryBus(self, user)
        self._buses.append(bus)
        return bus

    def create_mesh(self, mesh_id: str, *, generation: int = 1, first: int = 1) -> None:
        """What `init` and `restore` do: the streams and the `mesh` record, with `first` as its sequence."""
        self.state.stream = MemoryStream(last=first - 1, first=first, created=f"{generation}")
        self.observed.stream = MemoryStream(created=f"{generation}")
        self.events.exists = True
        record = MeshRecord(mesh_id=mesh_id, generation=generation)
        self.state.commit(SERVER, (Put(subjects.MESH, encode(record), expected=0),), None)

    def disconnect(self, user: str, *, advise: bool = True, closed: bool = False) -> None:
        """The user's connection ends: nothing passes until `reconnect`. Others are advised, if so wanted."""
        self.wire.link(user).connected = False
        if advise:
            for advisories in list(self._advised):
                packet = Packet(sender=SERVER, receiver=advisories.user, subject=f"$SYS.DISCONNECT.{user}")
                self.wire.send(packet, lambda to=advisories: to.deliver(user, closed=closed))  # type: ignore[misc]

    def reconnect(self, user: str) -> None:
        """The user's client is connected again: its subscriptions go on, its watches say Gap."""
        link = self.wire.link(user)
        link.connected = True
        if link.stalled:
            link.stalled, link.inbound, link.outbound = False, True, True
        link.generation += 1
        for store in (self.state, self.observed):
            store.gap_all("reconnected", user)
        self.events.wake()

    def kill(self, user: str, *, advise: bool = True) -> None:
        """The user's process is dead: its subscriptions, watches and readers are gone."""
        for bus in [each for each in self._buses if each.user == user]:
            self.core.drop_user(bus)
            self.state.drop_user(bus)
            self.observed.drop_user(bus)
            self._advised = {each: None for each in self._advised if each.user != user}
            self._buses.remove(bus)
        self.disconnect(user, advise=advise, closed=True)

    def partition(self, user: str, *, outbound: bool = True, inbound: bool = True, hold: bool = False) -> None:
        """Cut what the user says and / or what it hears. `hold`: as TCP does, all of it comes late, on `heal`."""
        link = self.wire.link(user)
        link.outbound = link.outbound and not outbound
        link.inbound = link.inbound and not inbound
        link.hold = hold

    def stall(self, *users: str) -> None:
        """Their server stops where it is: they stay connected, nothing passes. They notice after PINGS seconds."""
        for user in users:
            self.partition(user)
            link = self.wire.link(user)
            link.stalled = True
            self.wire.schedule.after(PINGS, partial(self._notice, user, link.generation))

    def _notice(self, user: str, generation: int) -> None:
        link = self.wire.link(user)
        if link.stalled and link.generation == generation:
            self.reconnect(user)

    def heal(self, user: str) -> None:
        """End a partition; what was held comes now."""
        self.wire.heal(user)
        self.events.wake()

    def deafen(self, user: str, subject: str, *, first: int | None = None) -> Rule:
        """The answers to the user's requests on `subject` (a pattern) are lost: heard one way."""
        return self.faults.add(Rule(subject=subject, receiver=user, answers=True, first=first))

    def hold(self, subject: str = ">", *, sender: str = ANYONE, receiver: str = ANYONE) -> Rule:
        """Keep core messages back until `release`."""
        return self.faults.add(Rule(subject=subject, sender=sender, receiver=receiver, fate="hold"))

    def release(self, rule: Rule | None = None) -> None:
        """Deliver late what was held, and end the rule."""
        if rule is not None:
            self.faults.remove(rule)
        self.wire.release()

    def lose(self, subject: str, *, receiver: str = ANYONE, sender: str = ANYONE, first: int | None = None) -> Rule:
        """Lose messages of a subject: `mesh.state.>` with first=1 is a watch's lost message."""
        return self.faults.add(Rule(subject=subject, sender=sender, receiver=receiver, first=first))

    def pause_writes(self, seconds: float, *, late: bool = False, leaderless: bool = False) -> None:
        """No stream takes writes for so long, as when a server dies; reads go on.

        `late`: what was given up as Unknown meanwhile is stored when the pause is over. `leaderless`: nobody answers
        for the streams' leaders either, as when most servers are dead; replicas do. Of two pauses at once the one that
        lasts longer holds: else what the other's end stores late would lie over what was written before that.
        """
        until = max(asyncio.get_running_loop().time() + seconds, self.state.paused_until)
        self.state.stored_late = self.observed.stored_late = late
        self.state.paused_until = self.observed.paused_until = self.events.paused_until = until
        self.state.leaderless = self.observed.leaderless = leaderless

    def checkpoint(self) -> MemoryStream:
        """The state stream as it is now, for `roll_back`."""
        return self.state.existing().copy()

    def roll_back(self, checkpoint: MemoryStream) -> None:
        """The state stream is an older one again (a disk restored from a backup)."""
        self.state.replace(checkpoint.copy())

    def lose_store(self) -> None:
        """The state stream is gone."""
        self.state.replace(None)

    def advise(self, advisories: MemoryAdvisories) -> None:
        """Somebody wants to know who disconnects."""
        self._advised[advisories] = None

    def unadvise(self, advisories: MemoryAdvisories) -> None:
        """Not any more."""
        self._advised.pop(advisories, None)

    def _store(self, name: str, prefix: str, republished: str) -> StoreHub:
        return StoreHub((name, prefix, republished), self.wire, self.faults, self.clock)


class MemoryBus:
    """One process's connection."""

    def __init__(self, broker: MemoryBroker, user: str) -> None:
        self.user = user
        self._broker = broker
        self.core: Core = MemoryCore(broker.core, user, self)
        self.state: Store = MemoryStore(broker.state, user, self)
        self.observed: Store = MemoryStore(broker.observed, user, self)
        self.events: EventLog = MemoryEvents(broker.events, user, self.state)

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._broker.wire.link(self.user).connected

    async def check_line(self, limit: float) -> bool:
        """See `bus.port.Bus`."""
        link = self._broker.wire.link(self.user)
        before = link.generation
        if link.connected and not link.open:
            await asyncio.sleep(limit)
            if link.stalled and link.generation == before:
                self._broker.reconnect(self.user)
        return link.connected and link.generation != before

    def disconnects(self) -> Subscription:
        """See `bus.port.Bus`."""
        check_controller(self.user, "hear disconnect advisories")
        return MemoryAdvisories(self._broker, self.user)


class MemoryAdvisories:
    """Who has lost the connection, as it happens."""

    def __init__(self, broker: MemoryBroker, user: str) -> None:
        self.user = user
        self.dropped = 0
        self._broker = broker
        self._feed: Feed[Message] = Feed(1024)

    def deliver(self, user: str, *, closed: bool = False) -> None:
        """An advisory has arrived."""
        self._feed.push(Message(subject=user, data=CLOSED if closed else b""))

    async def next(self) -> Message:
        """The next advisory."""
        return await self._feed.next()

    def __aiter__(self) -> MemoryAdvisories:
        return self

    async def __anext__(self) -> Message:
        return await self._feed.next()

    async def __aenter__(self) -> MemoryAdvisories:
        self._broker.advise(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._broker.unadvise(self)
