"""What all requests to the controllers share: those that read, those that change something, and the plain answer."""

from __future__ import annotations

from schemas.wire import Count, Seconds, Wire


class Ask(Wire, frozen=True, kw_only=True):
    """A request that only reads."""

    min_sequence: Count = 0


class Command(Wire, frozen=True, kw_only=True):
    """A request that changes something; `command` is its id, the cause of all that follows.

    The same command may be sent again: if the records carry its id it is done, and answered as such.
    """

    command: str = ""
    until: Seconds = 0.0
    """By the clock of the store's server (`StoreInfo.now`): nothing is begun after it. 0.0: no bound."""


class Written(Wire, frozen=True, kw_only=True):
    """A write was stored."""

    sequence: Count
    warnings: tuple[str, ...] = ()
