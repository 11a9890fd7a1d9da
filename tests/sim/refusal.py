"""While a simulated world runs, nothing real may be begun from its thread: no socket, thread, process, or sleep.

Sockets and processes are refused by what the interpreter tells of them (PEP 578); such a hook stays for good, so it
looks whether a world runs. Of threads and sleeps it tells nothing in Python 3.11: the calls stand in for themselves
meanwhile. Code that took `time.sleep` out of its module before is not stopped; it holds the whole story up.
"""

from __future__ import annotations

import _thread
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

PROCESSES = ("subprocess.Popen", "os.system", "os.fork", "os.forkpty", "os.exec", "os.posix_spawn", "os.spawn")
REAL = ("socket.", "_thread.start_", "time.sleep", *PROCESSES)
"""Beginnings of the names of events."""

_worlds: set[int] = set()
"""Threads in which a world runs."""
_hooked: list[bool] = []


class NotSimulated(BaseException):
    """Simulated code tried something real: a socket, a thread, a subprocess."""


@contextmanager
def nothing_real() -> Iterator[None]:
    """Within it the running thread begins nothing real. Raises NotSimulated where it does."""
    if not _hooked:
        sys.addaudithook(_refuse)
        _hooked.append(True)
    thread = threading.get_ident()
    calls: list[tuple[Any, str]] = [(threading.Thread, "start"), (_thread, "start_new_thread"), (time, "sleep")]
    real = [getattr(where, name) for where, name in calls]
    _worlds.add(thread)
    for (where, name), call in zip(calls, real, strict=True):
        setattr(where, name, _guarded(name, call))
    try:
        yield
    finally:
        for (where, name), call in zip(calls, real, strict=True):
            setattr(where, name, call)
        _worlds.discard(thread)


def _refuse(event: str, _: tuple[Any, ...]) -> None:
    if _worlds and event.startswith(REAL) and threading.get_ident() in _worlds:
        raise NotSimulated(f"{event}: simulated code does nothing real")


def _guarded(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def stand_in(*arguments: Any, **named: Any) -> Any:
        if threading.get_ident() in _worlds:
            raise NotSimulated(f"{name}: simulated code does nothing real")
        return call(*arguments, **named)

    return stand_in
