"""How the processes of the mesh log: structlog to stderr, JSON lines when stderr is no terminal.

Events are named `noun.verb_past` ("task.started"); what belongs to them stands in keys, not in the sentence.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, TextIO

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable


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
