"""Stream time: what the server's clock said at a known moment, plus this machine's monotonic clock since then.

It is set once, at a takeover, and runs on from there: a server with another clock that becomes the stream's leader
can't make silence out of nothing.
"""

from __future__ import annotations

from schemas.clock import Clock


class StreamTime:
    """Converts this process's monotonic seconds to stream time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = 0.0
        self.running = False
        """False until it was set for the first time."""

    def set(self, at: float) -> None:
        """Now it is `at` (the stream time of an entry that was stored just now)."""
        self._offset = at - self._clock.monotonic()
        self.running = True

    def now(self) -> float:
        """Stream time now."""
        return self._clock.monotonic() + self._offset

    def of(self, monotonic: float) -> float:
        """Stream time at a moment of the monotonic clock."""
        return monotonic + self._offset

    def until(self, at: float) -> float:
        """Seconds from now to a stream time; not below 0."""
        return max(0.0, at - self.now())
