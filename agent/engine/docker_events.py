"""Docker's event stream in one thread, reconnecting by itself; each new connection is told as an `EventGap`."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from typing import Any

from agent.engine.docker_client import Api, connect
from agent.engine.docker_errors import translated
from agent.engine.docker_views import event_view
from agent.engine.labels import Owner
from agent.engine.model import EngineEvent, EventGap
from schemas.clock import Clock
from schemas.errors import MeshError

KEPT = 1024
"""Events that wait for the reader; one that is slower loses them and is told so."""

ACTIONS = ["create", "start", "die", "oom", "health_status", "pause", "unpause", "kill", "destroy", "rename", "update"]
"""Asked for; each health check alone would bring three more of other kinds."""

FIRST_DELAY, LAST_DELAY = 0.2, 2.0
"""Seconds between two attempts to connect."""


class EventStream:
    """One reader's stream. `close` ends the thread, at the latest with the engine's next sign of life."""

    def __init__(self, address: str, owner: Owner, clock: Clock) -> None:
        self._address = address
        self._owner = owner
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[EngineEvent | EventGap] = asyncio.Queue()
        self._closed = threading.Event()
        self._since = 0
        """Nanoseconds since 1970 up to which events were read."""
        self._stream: Any = None
        self._why = "connected"
        self._thread = threading.Thread(target=self._run, name="engine-events", daemon=True)

    async def read(self) -> AsyncIterator[EngineEvent | EventGap]:
        """The events, for ever."""
        self._thread.start()
        try:
            while True:
                yield await self._queue.get()
        finally:
            self.close()

    def close(self) -> None:
        """Nobody reads any more."""
        self._closed.set()
        stream = self._stream
        if stream is not None:
            with contextlib.suppress(Exception):  # it may end by itself at the same time
                stream.close()

    def _run(self) -> None:
        delay = FIRST_DELAY
        while not self._closed.is_set():
            before = self._since
            try:
                api = connect(self._address)
                try:
                    self._follow(api)
                finally:
                    api.close()
            except MeshError as error:
                self._why = error.message
            except Exception as error:  # whatever breaks a stream: connect anew
                self._why = f"the event stream broke: {error}"
            delay = FIRST_DELAY if self._since != before else min(delay * 2, LAST_DELAY)
            self._closed.wait(delay)

    def _follow(self, api: Api) -> None:
        if not self._since:
            self._since = int((self._clock.wall() - 1) * 1e9)
        # From a little before now: the engine answers before it listens.
        since = f"{self._since // 10**9}.{self._since % 10**9:09d}"
        labels = [f"{key}={value}" for key, value in self._owner.labels.items()]
        api.timeout = None  # type: ignore[assignment]  # nothing may happen for as long as it likes
        with translated("events", self._address, 0):
            filters = {"type": "container", "label": labels, "event": ACTIONS}
            self._stream = api.events(since=since, filters=filters, decode=True)  # type: ignore[call-overload]
            self._tell(EventGap(self._why))
            self._why = "the event stream ended"
            for data in self._stream:
                if self._closed.is_set():
                    return
                self._since = max(self._since, int(data.get("timeNano") or 0) + 1)
                event = event_view(data)
                if event is not None:
                    self._tell(event)

    def _tell(self, event: EngineEvent | EventGap) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is gone
            self._loop.call_soon_threadsafe(self._put, event)

    def _put(self, event: EngineEvent | EventGap) -> None:
        if self._queue.qsize() >= KEPT:
            while not self._queue.empty():
                self._queue.get_nowait()
            event = EventGap("events came faster than they were read")
        self._queue.put_nowait(event)
