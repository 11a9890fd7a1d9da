"""Whether the engine answers: told by one prober, so that a single slow call does not make the node look broken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from agent.telling import Teller
from schemas.clock import Clock

log = structlog.get_logger()


class EngineHealth:
    """Why the engine can't be used now, and who waits for it."""

    def __init__(self, teller: Teller, clock: Clock) -> None:
        self._teller = teller
        self._clock = clock
        self._usable = asyncio.Event()
        self._suspected = asyncio.Event()
        self._since = clock.monotonic()
        self._known = False
        self.trouble = "the engine has not answered yet"
        """"" while it answers."""
        self.changed = asyncio.Event()
        """Set whenever `trouble` begins or ends; cleared by whoever tells it."""
        self.listeners: list[Callable[[], None]] = []

    def lost(self, error: str) -> None:
        """The probe has failed."""
        if self._usable.is_set() or not self._known:
            log.error("engine.lost", error=error)
            self._teller.tell("engine.lost", why=error)
            self._since = self._clock.monotonic()
        self._known = True
        self._usable.clear()
        if self.trouble != error:
            self.trouble = error
            self._tell()

    def back(self) -> None:
        """The probe was answered."""
        if self._usable.is_set():
            return
        if self._known:
            after = round(self._clock.monotonic() - self._since, 1)
            log.info("engine.back", after=after)
            self._teller.tell("engine.back", after=after)
        self._known = True
        self.trouble = ""
        self._usable.set()
        self._tell()

    def _tell(self) -> None:
        self.changed.set()
        for listener in self.listeners:
            listener()

    def suspect(self) -> None:
        """A call got no answer: probe now."""
        self._suspected.set()

    async def suspicion(self, timeout: float) -> None:
        """Return when somebody suspects the engine, or after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._suspected.wait()
        except TimeoutError:
            pass
        self._suspected.clear()

    async def usable(self) -> None:
        """Return once the engine answers."""
        await self._usable.wait()
