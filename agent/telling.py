"""From what changed in a task to the events that tell it.

The id of an event follows from the task and the transition alone, so that one told twice (after a crash between
the journal and the note of it) is the same event for whoever reads it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from agent.journal import Journal
from agent.local import LocalTask
from schemas.clock import Clock, iso
from schemas.events import Event
from schemas.postmortem import KIND, PostMortem


def told_by(before: LocalTask | None, after: LocalTask) -> tuple[str, ...]:
    """The kinds of events that tell the way from `before` (None: unknown until now) to `after`, in order."""
    kinds: list[str] = []
    if after.container and (before is None or not before.container):
        kinds.append("task.created")
    was = before.state if before else "new"
    if after.started and not (before and before.started):
        kinds.append("task.started")
    if before is None or after.health != before.health:
        kinds.extend({"healthy": ["task.healthy"], "unhealthy": ["task.unhealthy"]}.get(after.health, []))
    if after.state == "running" and before and before.started and bool(before.not_ready) != bool(after.not_ready):
        kinds.append("task.not_ready" if after.not_ready else "task.ready")
    if after.state == "stopping" and was != "stopping":
        kinds.append("task.stopping")
    if after.ended and not (before and before.ended):
        kinds.extend(_end_of(after))
    return tuple(kinds)


def _end_of(task: LocalTask) -> list[str]:
    kinds = ["task.oom"] if task.oom_killed else []
    if task.state == "failed":
        return [*kinds, "task.failed"]
    return [*kinds, "task.stopped" if task.asked else "task.exited"]


_FLAPPING = frozenset({"task.healthy", "task.unhealthy", "task.ready", "task.not_ready"})


def event_id(task: LocalTask, kind: str) -> str:
    """The same for the same transition."""
    flap = f"-{task.flaps}" if kind in _FLAPPING else ""
    return f"{task.id}-{kind.removeprefix('task.')}{flap}"


def data_of(task: LocalTask, kind: str) -> dict[str, Any]:
    """What is particular to an event of a task."""
    data: dict[str, Any] = {"slot": task.slot, "container": task.container}
    if task.predecessor:
        data["predecessor"] = task.predecessor
    if kind == "task.started" and task.ports:
        data["ports"] = [
            {"target": port.target, "published": port.published, "protocol": port.protocol} for port in task.ports
        ]
    if kind in ("task.exited", "task.stopped", "task.failed"):
        data |= {"exit_code": task.exit_code, "oom_killed": task.oom_killed, "ran": round(task.ran, 3)}
        data["log_tail"] = list(task.log_tail)
    return {key: value for key, value in data.items() if value not in (None, "", [])}


class Teller:
    """Puts events into the journal: what happens on one node."""

    def __init__(self, node: str, journal: Journal, clock: Clock) -> None:
        self._node = node
        self._journal = journal
        self._clock = clock

    def tell_task(self, before: LocalTask | None, after: LocalTask, *, epoch: int = 0, why: str = "") -> None:
        """Tell what has changed in a task."""
        for kind in told_by(before, after):
            reason = after.error or after.not_ready or why
            self._add_task(kind, after, event_id(after, kind), epoch, reason, data_of(after, kind))

    def tell_post_mortem(self, task: LocalTask, found: PostMortem, *, epoch: int = 0, why: str = "") -> None:
        """Keep how a task ended."""
        data: dict[str, Any] = msgspec.to_builtins(found)
        self._add_task(KIND, task, event_id(task, KIND), epoch, task.error or why, data)

    def _add_task(self, kind: str, task: LocalTask, id_: str, epoch: int, why: str, data: dict[str, Any]) -> None:
        event = Event(
            id=id_,
            kind=kind,
            at=iso(self._clock.wall()),
            node=self._node,
            service=task.service,
            task=task.id,
            revision=task.revision,
            epoch=epoch,
            cause=task.cause,
            why=why,
            data=data,
        )
        self._journal.add(event)

    def tell(self, kind: str, *, why: str = "", service: str = "", task: str = "", **data: Any) -> None:
        """Tell something else; the id is that moment's."""
        at = self._clock.wall()
        event = Event(
            id=f"{self._node}-{kind}-{at:.6f}-{self._journal.added}",
            kind=kind,
            at=iso(at),
            node=self._node,
            service=service,
            task=task,
            why=why,
            data={key: value for key, value in data.items() if value not in (None, "")},
        )
        self._journal.add(event)
