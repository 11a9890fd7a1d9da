"""Events one by one: batches unpacked, each id told once, filtered, from a place and to a time."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import msgspec

from bus.port import Bus, EventReader, From, LoggedEvent
from meshctl.asking import ask_stream
from schemas import subjects
from schemas.clock import Clock
from schemas.errors import BadMessage
from schemas.events import Event, EventBatch
from schemas.postmortem import KIND, PostMortem
from schemas.subjects import EVENT_ALL
from schemas.wire import decode

REMEMBERED = 50_000
"""Ids of events that are remembered to tell each only once."""

BATCH = "mesh.event.batch."


@dataclass(frozen=True)
class EventFilter:
    """Which events are wanted; empty means all. A kind without a dot is a noun: all its verbs."""

    kinds: frozenset[str] = frozenset()
    service: str = ""
    node: str = ""

    def admits(self, event: Event) -> bool:
        """Whether `event` is wanted."""
        if self.kinds and event.kind not in self.kinds and event.kind.partition(".")[0] not in self.kinds:
            return False
        return self.service in ("", event.service) and self.node in ("", event.node)


class Told:
    """The ids that were told lately."""

    def __init__(self, limit: int = REMEMBERED) -> None:
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._limit = limit

    def first_time(self, event_id: str) -> bool:
        """Whether it is new; it is not afterwards."""
        if event_id in self._ids:
            return False
        self._ids[event_id] = None
        if len(self._ids) > self._limit:
            self._ids.popitem(last=False)
        return True


def unpack(message: LoggedEvent) -> tuple[Event, ...]:
    """The events in a message of the log; none in one that can't be read."""
    try:
        if message.subject.startswith(BATCH):
            return decode(message.data, EventBatch).events
        return (decode(message.data, Event),)
    except BadMessage:
        return ()


async def find_post_mortem(bus: Bus, task: str) -> PostMortem | None:
    """How a task ended, by its id; None: its node has told nothing (yet), or that was too long ago."""
    message = await ask_stream(lambda: bus.events.find(subjects.post_mortem(task)))
    for event in unpack(message) if message is not None else ():
        if event.task == task and event.kind == KIND:
            return read_post_mortem(event)
    return None


def read_post_mortem(event: Event) -> PostMortem | None:
    """What an event `task.postmortem` tells; None: it can't be read."""
    try:
        return msgspec.convert(event.data, PostMortem)
    except msgspec.ValidationError:
        return None


async def follow_events(
    bus: Bus, wanted: EventFilter, *, since: float | None, until: float | None, cursor: str, clock: Clock
) -> AsyncGenerator[Event, None]:
    """The generator behind `Mesh.events`."""
    told = Told()
    last = (await ask_stream(bus.events.info)).last if until is not None and until <= clock.wall() else None
    if last == 0:
        return
    async with bus.events.read(From(since=since, cursor=cursor), (EVENT_ALL,)) as reader:
        async for message in _messages(reader, until, last, clock):
            for event in unpack(message):
                if wanted.admits(event) and told.first_time(event.id):
                    yield event
            await reader.confirm(message.sequence)


async def _messages(
    reader: EventReader, until: float | None, last: int | None, clock: Clock
) -> AsyncGenerator[LoggedEvent, None]:
    """Messages up to the time `until`, where `last` is the log's last message if that time has passed."""
    while True:
        try:
            async with asyncio.timeout(_patience(until, last, clock)):
                message = await reader.next()
        except TimeoutError:
            return
        if until is not None and message.at > until:
            return
        yield message
        if last is not None and message.sequence >= last:
            return


def _patience(until: float | None, last: int | None, clock: Clock) -> float | None:
    """Seconds to wait for the next message: for ever, to `until`, or 2 s where all are there already."""
    if until is None:
        return None
    return 2.0 if last is not None else max(0.0, until - clock.wall())
