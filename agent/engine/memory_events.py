"""Who listens to the events of an engine in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from agent.engine.labels import Owner
from agent.engine.model import EngineEvent, EventGap

EVENTS_KEPT = 1024
"""Events that wait for one reader; one that is slower loses them all and is told so."""


class EventHub:
    """Readers of events, each with the owner whose events it wants."""

    def __init__(self) -> None:
        self._readers: list[tuple[Owner, asyncio.Queue[EngineEvent | EventGap]]] = []

    async def read(self, owner: Owner, *, connected: bool) -> AsyncIterator[EngineEvent | EventGap]:
        """The owner's events, for ever. Not `connected`: the first gap comes with the next `break_all`."""
        queue: asyncio.Queue[EngineEvent | EventGap] = asyncio.Queue()
        reader = (owner, queue)
        self._readers.append(reader)
        try:
            if connected:
                yield EventGap("connected")
            while True:
                yield await queue.get()
        finally:
            self._readers.remove(reader)

    def tell(self, event: EngineEvent) -> None:
        """It happened."""
        for owner, queue in self._readers:
            if owner.owns(event.labels):
                _put(queue, event)

    def break_all(self, why: str) -> None:
        """Every reader may have missed something."""
        for _, queue in self._readers:
            _put(queue, EventGap(why))


def _put(queue: asyncio.Queue[EngineEvent | EventGap], event: EngineEvent | EventGap) -> None:
    if queue.qsize() >= EVENTS_KEPT:
        while not queue.empty():
            queue.get_nowait()
        event = EventGap("events came faster than they were read")
    queue.put_nowait(event)
