"""How the processes of the mesh log: structlog to stderr, JSON lines when stderr is no terminal.

Events are named `noun.verb_past` ("task.started"); what belongs to them stands in keys, not in the sentence.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import TYPE_CHECKING, Any, TextIO

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable


EVERY = 30.0
"""Seconds after which what is still tried in vain is told again."""


def configure_logging(*, level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """Set structlog up for this process; called once, by `main`."""
    stream = stream or sys.stderr
    renderers: list[Callable[..., Any]]
    if stream.isatty():
        # The formatter that structlog takes by itself shows local variables: passwords and environments among them.
        renderers = [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    else:
        renderers = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=stream),
        cache_logger_on_first_use=True,
    )


class Waiting:
    """Tells why something is tried again: at first, when the reason is another one, and then every `EVERY` seconds."""

    def __init__(self, log: Any, event: str) -> None:
        self._log = log
        self._event = event
        self._why = ""
        self._told_at = 0.0
        self._untold = 0

    def tell(self, why: str, **fields: Any) -> None:
        """It is not possible now. To be called in a running event loop."""
        now = asyncio.get_running_loop().time()
        if why == self._why and now - self._told_at < EVERY:
            self._untold += 1
            return
        again = {"again": self._untold} if self._untold else {}
        self._log.info(self._event, why=why, **again, **fields)
        self._why, self._told_at, self._untold = why, now, 0

    def over(self) -> None:
        """It was possible: the next time is a first time."""
        self._why, self._untold = "", 0
