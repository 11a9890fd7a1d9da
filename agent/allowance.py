"""How often something may be told: so often in the long run, and a few at once after a quiet time. Pure."""

from __future__ import annotations

CREDIT = 5.0
"""Seconds of quiet that may be saved up: what a starting task has to tell goes out at once."""
SPACING = 0.05
"""Seconds between two, at least: what happens together is told together."""


class Allowance:
    """Take with each telling; it says how long to wait before the next."""

    def __init__(self) -> None:
        self._paid = float("-inf")
        """Until when all that was told is paid for."""

    def take(self, now: float, every: float) -> float:
        """Seconds until the next may be told, at one in `every` seconds in the long run. `now`: monotonic seconds."""
        self._paid = max(self._paid, now) + every
        return max(SPACING, self._paid - CREDIT - now)
