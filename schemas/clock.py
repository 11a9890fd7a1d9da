"""The clock as a value that is passed in.

Decisions get `now` as an argument; shells get a `Clock`. Wall time is for people and for events only: no two
machines' wall clocks are ever compared.
"""

from __future__ import annotations

import datetime
import time
from typing import Protocol

import schemas.taskgroups
import schemas.timeouts  # noqa: F401  (time-outs and task groups as later Pythons have them)


class Clock(Protocol):
    """What tells the time."""

    def wall(self) -> float:
        """Seconds since 1970-01-01 UTC, by this machine's wall clock."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed point of this process; never goes back."""
        ...


class SystemClock:
    """This machine's clocks."""

    def wall(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        return time.time_ns() / 1e9

    def monotonic(self) -> float:
        """Seconds of the monotonic clock."""
        return time.monotonic()


def iso(at: float) -> str:
    """`at` (seconds since 1970) as RFC 3339 in UTC with milliseconds: 2026-11-23T06:30:00.123Z."""
    moment = datetime.datetime.fromtimestamp(at, tz=datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
