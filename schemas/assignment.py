"""The assignment: all that one node should run, one record `desired.<node>` written by the leader.

It is identified by (generation, sequence) and carries the epoch. An agent obeys only a higher pair than the highest
it has seen. A missing record means "no change"; a record without tasks means "run nothing".
"""

from __future__ import annotations

from typing import Literal

from schemas.spec import TaskSpec
from schemas.wire import Count, Token, Wire

ASSIGNMENT_LIMIT = 1024 * 1024
"""Bytes of one encoded assignment or observation (DESIGN: limits)."""

TASKS_PER_NODE = 1000
"""The default for the most tasks that one node is given (DESIGN: limits)."""


class AssignedTask(Wire, frozen=True, kw_only=True):
    """One attempt to fill a slot.

    `desired` "shutdown" asks for the container's end; the task leaves the assignment once its end was observed.
    A task that is in no assignment is stopped, too, if it still runs.
    """

    id: str
    """`<epoch>-<n>` in base 36."""
    service: Token
    slot: str
    """The slot's number from 1, or the node's name for a global service."""
    revision: Count
    spec: str
    """The spec hash: a key of `Assignment.specs`."""
    stack: str = ""
    desired: Literal["running", "shutdown"] = "running"
    hold: float = 0.0
    """Stream time at which the leader assigned it: for people."""
    cause: str = ""
    why: str = ""


class Assignment(Wire, frozen=True, kw_only=True):
    """`desired.<node>`."""

    node: Token
    epoch: Count
    generation: Count = 1
    tasks: tuple[AssignedTask, ...] = ()
    specs: dict[str, TaskSpec] = {}
    prepare: dict[str, str] = {}
    """Service -> the spec hash of tasks that may come: the node gets their image now, so that nothing is stopped for
    an image that is not there yet."""
    provisional: bool = False
    """Out of a backup, for a node that was silent at the restore: it tells which slots are filled there, and is no
    command. The leader puts what the node's agent holds in its place as soon as that is heard."""


class Applied(Wire, frozen=True, kw_only=True):
    """Which assignment an agent has taken over (not: finished). Compared as a pair."""

    generation: Count = 0
    sequence: Count = 0

    @property
    def pair(self) -> tuple[int, int]:
        """(generation, sequence), to compare."""
        return (self.generation, self.sequence)


def container_name(service: str, slot: str, task: str) -> str:
    """The container's name: `stack_service.slot.id`."""
    return f"{service}.{slot}.{task}"
