"""How a Docker engine is called: docker-py in a few threads, connected lazily and anew after each failure.

What a caller gives up (cancels) is still done by the thread that has it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from agent.engine.docker_client import Api, connect
from agent.engine.docker_errors import translated
from agent.engine.workers import Workers

T = TypeVar("T")

THREADS = 8
"""More bring nothing: the engine itself serializes (measured)."""

PULLS = 3
TRANSFERS = 3
"""Pulls, and loads, saves and the like, at once: they hold their thread for long. What is read of an image that is here
waits for no pull."""

LOOK = 20.0
CHANGE = 90.0
IDLE = 180.0
PULL_IDLE = 3600.0
"""Seconds: a call that reads (an engine that starts a container lets nobody look at it meanwhile), one that changes, a
transfer, a pull without a sign of life (one of whose layers waits for others' says nothing for as long)."""


class Line:
    """Calls to one engine. `address`: unix:///var/run/docker.sock or any other that docker-py takes."""

    def __init__(self, address: str) -> None:
        self.address = address
        open_one = partial(connect, address)
        self._workers: Workers[Api] = Workers(THREADS, "engine", open_one, Api.close)
        self._pulls: Workers[Api] = Workers(PULLS, "engine-pull", open_one, Api.close)
        self._transfers: Workers[Api] = Workers(TRANSFERS, "engine-transfer", open_one, Api.close)

    async def look(self, what: str, work: Callable[[Api], T]) -> T:
        """A call that reads."""
        return await self._workers.run(self._guarded(what, work, LOOK), limit=LOOK, what=what, urgent=True)

    async def change(self, what: str, work: Callable[[Api], T], *, urgent: bool = False) -> T:
        """A call that changes something."""
        return await self._workers.run(self._guarded(what, work, CHANGE), limit=CHANGE, what=what, urgent=urgent)

    async def pull(self, work: Callable[[Api], T]) -> T:
        """A pull."""
        return await self._pulls.run(self._guarded("pull", work, PULL_IDLE), limit=None, what="pull")

    async def transfer(self, what: str, work: Callable[[Api], T]) -> T:
        """A load, save or question to a registry."""
        return await self._transfers.run(self._guarded(what, work, IDLE), limit=None, what=what)

    async def begin_transfer(self, work: Callable[[Api], T]) -> asyncio.Future[T]:
        """Begin one that nobody waits for."""
        return await self._transfers.begin(work)

    def _guarded(self, what: str, work: Callable[[Api], T], limit: float) -> Callable[[Api], T]:
        def guarded(api: Api) -> T:
            api.timeout = int(limit)
            with translated(what, self.address, limit):
                return work(api)

        return guarded

    def close(self) -> None:
        """End the threads."""
        self._workers.close()
        self._pulls.close()
        self._transfers.close()
