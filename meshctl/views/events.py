"""Events as lines, and which of them --filter leaves."""

from __future__ import annotations

from typing import Any

import click

from meshctl.format.filters import Filters, is_one_of, starts_with
from meshctl.views.objects import plain
from schemas.events import Event
from schemas.postmortem import KIND

EVENT_KEYS = ("type", "event", "kind", "service", "stack", "node", "task", "cause")

BAD = ("failed", "down", "engaged", "lost", "refused", "missing", "rolled_back", "oom", "died")
GOOD = ("ready", "running", "started", "healthy", "released", "done", "converged")

REPEATS = ("task.created", "task.started", "task.healthy", "task.exited", "task.dropped")
"""Their why is that of the assignment, which was told with it."""


def event_admitted(event: Event, filters: Filters) -> bool:
    """`type` is the noun, `event` the verb (as docker has it); `kind` is both. Post-mortems only by name."""
    noun, _, verb = event.kind.partition(".")
    if event.kind == KIND and not {KIND, "postmortem"} & {*filters.get("kind", ()), *filters.get("event", ())}:
        return False
    return (
        is_one_of(filters, "type", noun, _docker_type(noun))
        and is_one_of(filters, "event", verb, event.kind)
        and is_one_of(filters, "kind", event.kind, noun)
        and is_one_of(filters, "service", event.service)
        and ("stack" not in filters or any(event.service.startswith(f"{stack}_") for stack in filters["stack"]))
        and is_one_of(filters, "node", event.node)
        and starts_with(filters, "task", event.task)
        and is_one_of(filters, "cause", event.cause, event.id)
    )


def event_line(event: Event, *, color: bool = False) -> str:
    """`2026-11-23T06:30:00.123Z  task.failed         web.1 a-1 on n1: exit code 1`."""
    kind = f"{event.kind:<20}"
    if color:
        verb = event.kind.partition(".")[2]
        colour = "red" if verb in BAD else "green" if verb in GOOD else "cyan"
        kind = click.style(kind, fg=colour)
    told = " ".join(filter(None, (_what(event), _details(event))))
    why = "" if event.kind in REPEATS else event.why
    return f"{event.at}  {kind} {told}{': ' if told and why else ''}{why}".rstrip()


def event_row(event: Event) -> dict[str, Any]:
    """The event for templates: its own fields, and docker's Type and Action."""
    noun, _, verb = event.kind.partition(".")
    return {**plain(event), "Type": noun, "Action": verb, "Line": event_line(event)}


def _details(event: Event) -> str:
    """What is worth a word of that which is particular to a kind."""
    data = event.data
    noun = event.kind.partition(".")[0]
    if noun == "rollout" and "wanted" in data:
        return f"{data.get('running', 0)}/{data['wanted']} running"
    if noun == "service" and event.kind in ("service.created", "service.updated", "service.scaled"):
        replicas = "" if data.get("mode") == "global" else f", {data.get('replicas')} replicas"
        return f"revision {event.revision}{replicas}"
    if noun == "image":
        share = f" {100 * data['current'] // data['total']}%" if data.get("total") and "current" in data else ""
        return f"{data.get('image') or ', '.join(data.get('images', ()))}{share}"
    for name in ("volume", "stack", "controller"):
        if noun in (name, "leadership") and data.get(name):
            return str(data[name])
    return ""


def _what(event: Event) -> str:
    slot = str(event.data.get("slot", ""))
    name = f"{event.service}.{slot}" if event.service and slot else event.service
    where = f"on {event.node}" if event.node and (name or event.task) else event.node
    return " ".join(filter(None, (name, event.task, where)))


def _docker_type(noun: str) -> str:
    """Docker calls what happens to a task's container "container"."""
    return "container" if noun == "task" else noun
