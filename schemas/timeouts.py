"""`asyncio.timeout` as Python 3.11.3 and later have it, also on 3.11.2 (Debian 12).

There a time-out in a task of which a cancellation was caught before (by a task group whose child failed, `except*`)
raises CancelledError in place of TimeoutError: a deposed leader would never stand again. Imported for its effect.
"""

from __future__ import annotations

import asyncio
import sys
from types import TracebackType

_enter, _exit = asyncio.Timeout.__aenter__, asyncio.Timeout.__aexit__
_before: dict[int, int] = {}


async def _entered(self: asyncio.Timeout) -> asyncio.Timeout:
    task = asyncio.current_task()
    _before[id(self)] = task.cancelling() if task is not None else 0
    return await _enter(self)


async def _left(
    self: asyncio.Timeout, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
) -> None:
    before = _before.pop(id(self), 0)
    await _exit(self, kind, error, trace)
    task = asyncio.current_task()
    if self.expired() and kind is asyncio.CancelledError and task is not None and task.cancelling() <= before:
        raise TimeoutError from error


if sys.version_info < (3, 11, 3):
    asyncio.Timeout.__aenter__ = _entered  # type: ignore[method-assign]
    asyncio.Timeout.__aexit__ = _left  # type: ignore[method-assign, assignment]
