"""Containers that are no longer what their revision says, as a node's agent tells it (`mesh.node.<node>.drift`)."""

from __future__ import annotations

from typing import Literal

from schemas.wire import Token, Wire

DriftPolicy = Literal["report", "replace", "ignore"]
"""What follows: tell it; end the task as failed, so that its restart policy replaces it; nothing, not even looking."""

FILES_TOLD = 500
"""Changed files that one answer holds."""


class Difference(Wire, frozen=True, kw_only=True):
    """One thing that is otherwise. An empty side: there is none."""

    what: str
    """name | state | cpus | memory | memory reservation | pids | restart policy | network | image tag."""
    wanted: str
    found: str

    def __str__(self) -> str:
        if not self.found:
            return f"{self.what} {self.wanted} is missing"
        if not self.wanted:
            return f"{self.what} {self.found} was added"
        return f"{self.what} is {self.found}, not {self.wanted}"


class Drifted(Wire, frozen=True, kw_only=True):
    """A task whose container is not what its revision says."""

    task: str
    service: Token
    slot: str
    container: str
    differences: tuple[Difference, ...]
    policy: DriftPolicy = "report"


class Orphan(Wire, frozen=True, kw_only=True):
    """A container with this mesh's labels that is of no task."""

    container: str
    name: str
    state: str
    why: str


class AskDrift(Wire, frozen=True, kw_only=True):
    """drift: compare all now. `files_of`: a task whose changed files are wanted, too (its file system is walked)."""

    files_of: str = ""


class DriftReport(Wire, frozen=True, kw_only=True):
    """The answer to drift."""

    node: str
    compared: int = 0
    """Running tasks that were looked at."""
    drifted: tuple[Drifted, ...] = ()
    orphans: tuple[Orphan, ...] = ()
    files: tuple[str, ...] = ()
    """As docker diff writes them: "C /etc/hosts"."""
    files_total: int = 0
