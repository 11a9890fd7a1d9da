"""What every command gets: which mesh, how to run work on it, the clock, and where output goes.

Tests put in another `opener`; nothing else of a command is different there.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import click

from schemas.clock import Clock, SystemClock

if TYPE_CHECKING:
    from meshctl.client import Mesh
    from meshctl.contexts import ContextStore

T = TypeVar("T")


@dataclass
class Session:
    """One call of meshctl."""

    context: str | None = None
    debug: bool = False
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    clock: Clock = field(default_factory=SystemClock)
    opener: Callable[[Session], AbstractAsyncContextManager[Mesh]] | None = None
    """How a mesh is opened; None: by the context that was chosen."""

    def run(self, work: Callable[[Mesh], Awaitable[T]]) -> T:
        """Connect, do `work`, close; what it returns. Raises whatever it raises."""
        import asyncio

        quiet_logs(debug=self.debug)
        return asyncio.run(self._with_mesh(work))

    @property
    def contexts(self) -> ContextStore:
        """The user's contexts."""
        from meshctl.contexts import user_contexts

        return user_contexts(self.environ)

    @property
    def now(self) -> float:
        """Seconds since 1970, for relative times."""
        return self.clock.wall()

    @property
    def color(self) -> bool:
        """Whether stdout shows colours."""
        return sys.stdout.isatty() and not self.environ.get("NO_COLOR") and self.environ.get("TERM") != "dumb"

    @property
    def width(self) -> int:
        """Characters of a line where stdout is a terminal; 0 elsewhere."""
        return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0

    async def _with_mesh(self, work: Callable[[Mesh], Awaitable[T]]) -> T:
        async with self._open() as mesh:
            return await work(mesh)

    def _open(self) -> AbstractAsyncContextManager[Mesh]:
        from meshctl.client import Mesh
        from meshctl.contexts import credentials_for

        if self.opener is not None:
            return self.opener(self)
        return Mesh.connect(credentials_for(self.context, self.environ, self.contexts))


def quiet_logs(*, debug: bool) -> None:
    """What the bus logs is for services: people see errors. With --debug it goes to stderr."""
    import logging

    import structlog

    level = logging.DEBUG if debug else logging.CRITICAL
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.getLogger("nats").setLevel(level)


pass_session = click.make_pass_decorator(Session)
"""Gives a command its `Session`."""
