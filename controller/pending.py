"""How long the leader has been waiting for the store: agents are told, and then go by what they see themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from schemas.clock import Clock

LONG = 1.0
"""Seconds after which a write that was not taken is told."""


class Pending:
    """The round that is being stored, if there is one; while there is none, what came of asking the store."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: float | None = None
        self._silent = False

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """While a round is being stored."""
        self._since = self._clock.monotonic()
        try:
            yield
        finally:
            self._since = None

    def asked(self, *, answered: bool) -> None:
        """Whether the store's leader answered as one that could store something."""
        self._silent = not answered

    @property
    def long(self) -> bool:
        """The store does not take what the leader writes, or would not."""
        return self._silent or (self._since is not None and self._clock.monotonic() - self._since > LONG)
