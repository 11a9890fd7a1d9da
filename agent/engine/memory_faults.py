"""What may go wrong with an engine in memory: set the fields at any time; each call looks at them."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

from schemas.errors import EngineError, EngineUnavailable

CALL_LIMIT = 15.0
"""Seconds after which a call to a hanging engine is given up."""


@dataclass
class Faults:
    """The faults of one engine. Times are seconds; probabilities 0..1 are drawn from the engine's `Random`."""

    delay: tuple[float, float] = (0.0, 0.0)
    """Each call takes that long, drawn evenly."""
    down: bool = False
    """Nobody listens on the socket."""
    hang: bool = False
    """Calls are accepted and not answered."""
    refuse: dict[str, list[str]] = field(default_factory=dict)
    """By call ("create", "start", ...): the texts with which the next calls fail, first first."""
    fail: float = 0.0
    """A call fails before anything was done."""
    lose_answer: float = 0.0
    """A call is done, but EngineUnavailable is raised."""
    lose_event: float = 0.0
    """An event is told to nobody."""
    disk_full: bool = False
    """Creating, pulling and loading fail for want of space."""

    async def before(self, call: str, chance: random.Random) -> None:
        """What a call meets on its way to the engine. Raises what it meets."""
        await asyncio.sleep(chance.uniform(*self.delay) if self.delay[1] else 0)
        if self.hang:
            await self._hang(call)
        if self.down:
            raise EngineUnavailable("the container engine does not answer: connection refused")
        if texts := self.refuse.get(call):
            raise EngineError(texts.pop(0))
        if self.fail and chance.random() < self.fail:
            raise EngineError(f"{call} failed (injected)")
        if self.disk_full and call in ("create", "pull", "load", "create_volume"):
            raise EngineError("the engine's disk is full: no space left on device")

    async def _hang(self, call: str) -> None:
        for _ in range(round(CALL_LIMIT / 0.5)):
            if not self.hang:
                return
            await asyncio.sleep(0.5)
        if self.hang:
            raise EngineUnavailable(f"the container engine did not answer within {CALL_LIMIT:.0f} s ({call})")

    def after(self, call: str, chance: random.Random) -> None:
        """What an answer meets on its way back. Raises EngineUnavailable if it is lost."""
        if self.lose_answer and chance.random() < self.lose_answer:
            raise EngineUnavailable(f"the container engine did not answer in time ({call})")
