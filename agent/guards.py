"""Loops that must not end: a failure is logged and the loop begun again, with a growing pause."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0

log = structlog.get_logger()


async def guarded(name: str, work: Callable[[], Awaitable[object]]) -> None:
    """Run `work` for ever: neither its return nor an `Exception` ends it. Cancellation does."""
    loop = asyncio.get_running_loop()
    pause = FIRST_PAUSE
    while True:
        begun = loop.time()
        try:
            await work()
            log.error("loop.returned", loop=name)
        except Exception:
            log.exception("loop.failed", loop=name)
        if loop.time() - begun > LONGEST_PAUSE:
            pause = FIRST_PAUSE
        await asyncio.sleep(pause)
        pause = min(LONGEST_PAUSE, 2 * pause)


async def sleep_unless(event: asyncio.Event, seconds: float) -> bool:
    """Sleep, but at most until the event is set; whether it was."""
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await event.wait()
    except TimeoutError:
        return event.is_set()
    return True
