"""How the processes of the mesh end: a signal asks for it, and they are gone within END_WITHIN seconds, with 0.

Whatever they keep on disk outlives a power cut, so a process that can't end in good order (a server that is frozen, a
name that is being looked up) may end at once.
"""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

END_WITHIN = 2.5
"""Seconds from the signal."""

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def end_at_once_on_signals() -> None:
    """From now on, until `on_signals`: nothing is held yet that would have to be let go in order."""
    for number in SIGNALS:
        signal.signal(number, _leave)


def on_signals(act: Callable[[], None]) -> None:
    """Call `act` in the running loop when somebody wants this process to end; after END_WITHIN it ends anyway."""
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, functools.partial(_begin, act))


def end() -> NoReturn:
    """The process is done: end it with 0, without waiting for threads that wait for an engine or a name server."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _begin(act: Callable[[], None]) -> None:
    signal.signal(signal.SIGALRM, _overdue)
    signal.setitimer(signal.ITIMER_REAL, END_WITHIN)
    act()


def _leave(_number: int, _frame: FrameType | None) -> None:
    _say("process.ended", "a signal came before there was anything to let go")
    os._exit(0)


def _overdue(_number: int, _frame: FrameType | None) -> None:
    _say("process.end_overdue", f"it did not end in good order within {END_WITHIN:g} s")
    os._exit(0)


def _say(event: str, why: str) -> None:
    """Log a line past the logger: what the signal interrupts may hold the logger's lock."""
    os.write(2, b'{"event": "%s", "why": "%s", "level": "info"}\n' % (event.encode(), why.encode()))
