"""Processes that are stopped (SIGSTOP): nothing of theirs runs, their timers included, until they go on (SIGCONT).

A process is a context that its tasks and callbacks hand on. What is due while it is stopped is kept in order. When it
goes on, all of it happens at once: what came meanwhile is there to be read, what it had set a timer for is long past.
"""

from __future__ import annotations

import asyncio
import contextvars

PROCESS: contextvars.ContextVar[str] = contextvars.ContextVar("process", default="")
"""Whose callback this is; "": nobody's (the server, an engine, people)."""


def context_of(process: str) -> contextvars.Context:
    """What the process's first task is to run in."""
    context = contextvars.copy_context()
    context.run(PROCESS.set, process)
    return context


class Suspension:
    """Who is stopped, and what each would do."""

    def __init__(self) -> None:
        self._kept: dict[str, list[asyncio.Handle]] = {}

    def __bool__(self) -> bool:
        return bool(self._kept)

    def stop(self, process: str) -> None:
        """From now on nothing of it runs."""
        self._kept.setdefault(process, [])

    def go_on(self, process: str) -> list[asyncio.Handle]:
        """It runs again: what was due meanwhile."""
        return self._kept.pop(process, [])

    def keeps(self, handle: asyncio.Handle) -> bool:
        """Take a callback that is due, if it is of a process that is stopped."""
        process = handle._context.get(PROCESS, "")  # type: ignore[attr-defined]
        if process not in self._kept:
            return False
        self._kept[process].append(handle)
        return True
