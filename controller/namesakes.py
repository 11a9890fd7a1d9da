"""Two controllers of one name: the one that was started later ends, and says why.

They would fence each other off over and over without anybody seeing why. A beat may still be on its way when its sender
was killed and started again, so a namesake counts only once it has been heard for some seconds.
"""

from __future__ import annotations

import asyncio

from schemas.clock import Clock
from schemas.errors import Conflict
from schemas.liveness import CONTROLLER_PERIOD, ControllerBeat

CERTAIN_AFTER = 2.5 * CONTROLLER_PERIOD
"""Seconds between the first and the last of a namesake's beats, counted by its own clock and by this one."""

FORGOTTEN_AFTER = 3 * CONTROLLER_PERIOD


class Namesakes:
    """Listens to what goes by under the own name. `instance` tells this process from the others."""

    def __init__(self, name: str, instance: str, clock: Clock) -> None:
        self.instance = instance
        self._name = name
        self._clock = clock
        self._started = clock.monotonic()
        self._first: dict[str, tuple[float, ControllerBeat]] = {}
        """Instance -> when it was first heard, and with what."""
        self._last: dict[str, float] = {}
        self._found = asyncio.Event()
        self._why = ""

    @property
    def age(self) -> float:
        """Seconds since this one started."""
        return self._clock.monotonic() - self._started

    def heard(self, beat: ControllerBeat) -> None:
        """A controller's beat went by."""
        if beat.name != self._name or beat.instance in ("", self.instance):
            return
        now = self._clock.monotonic()
        if now - self._last.get(beat.instance, -FORGOTTEN_AFTER) >= FORGOTTEN_AFTER:
            self._first[beat.instance] = (now, beat)
        self._last[beat.instance] = now
        at, first = self._first[beat.instance]
        alive = min(now - at, beat.age - first.age) >= CERTAIN_AFTER
        if alive and (beat.age, beat.instance) > (self.age, self.instance):
            self._why = f"another controller named {self._name} runs already, on {beat.hostname or 'an unknown host'}"
            self._found.set()

    async def run(self) -> None:
        """Wait for an older one of the same name. Raises Conflict."""
        await self._found.wait()
        raise Conflict(self._why, hint="give each controller a --name and a user of its own")
