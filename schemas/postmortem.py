"""The post-mortem: all that is kept of a task that has ended, after its container is gone.

It is the `data` of the event `task.postmortem`, which its node's agent keeps alone on a subject with the task's id
(`schemas.subjects.post_mortem`): found by that id without reading the log.
"""

from __future__ import annotations

from typing import Literal

from schemas.nodeapi import LogLine
from schemas.wire import Count, Seconds, Wire

KIND = "task.postmortem"

POST_MORTEM_LIMIT = 16 * 1024
"""Bytes of one encoded post-mortem."""

POST_MORTEM_LINES = 50
"""The last lines of its log that are kept, at most."""

POST_MORTEM_PROBES = 5
"""The last health checks that are kept, at most: as many as Docker remembers."""


class HealthProbe(Wire, frozen=True, kw_only=True):
    """One run of a health check. `at`: RFC 3339 as the engine has it; exit code 0: it passed."""

    at: str = ""
    exit_code: int = 0
    output: str = ""


class PostMortem(Wire, frozen=True, kw_only=True):
    """How a task ended. Times are seconds since 1970 by its engine's clock; 0.0: never, or not known."""

    task: str
    service: str = ""
    slot: str = ""
    revision: Count = 0
    node: str = ""
    container: str = ""
    image: str = ""
    """The reference as the user wrote it; "" where only the id is known."""
    image_id: str = ""
    """The engine's id of the image."""
    state: Literal["exited", "failed"] = "exited"
    exit_code: int | None = None
    oom_killed: bool = False
    error: str = ""
    asked: bool = False
    """Its end was asked for."""
    started_at: Seconds = 0.0
    finished_at: Seconds = 0.0
    ran: Seconds = 0.0
    health: tuple[HealthProbe, ...] = ()
    """The last checks, oldest first."""
    log: tuple[LogLine, ...] = ()
    """The last lines, oldest first; long ones are cut."""
    log_cut: bool = False
    """Lines, or parts of them, were left out for want of room."""
