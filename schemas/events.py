"""Events: history for people and monitors. A public contract, told in docs/EVENTS.md.

Truth is state and observation; an event may come twice (dedupe by `id`). Order is the stream's sequence.
"""

from __future__ import annotations

from typing import Any

from schemas.wire import Count, Wire

BATCH_LIMIT = 200
"""Events in one batch message (DESIGN: liveness)."""

BATCH_EVERY = 0.2
"""Seconds between two flushes of container events (DESIGN: liveness)."""

JOURNAL_LIMIT = 10_000
"""Events that an agent keeps on disk until acknowledged (DESIGN: liveness)."""


class Event(Wire, frozen=True, kw_only=True):
    """One thing that happened. `kind` is `noun.verb`: task.started, node.down, service.scaled."""

    id: str
    kind: str
    at: str
    """RFC 3339 in UTC, by the wall clock of whoever tells it."""
    node: str = ""
    service: str = ""
    task: str = ""
    revision: Count = 0
    epoch: Count = 0
    cause: str = ""
    """The id of the command or fault that it descends from."""
    parent: str = ""
    why: str = ""
    data: dict[str, Any] = {}
    """What is particular to this kind (docs/EVENTS.md)."""


class EventBatch(Wire, frozen=True, kw_only=True):
    """`mesh.event.batch.container.<node>._`: what an agent flushes at once."""

    node: str
    events: tuple[Event, ...]
