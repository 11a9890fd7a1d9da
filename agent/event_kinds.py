"""Every kind of event that an agent tells: what it means, and what its `data` may hold (docs/EVENTS.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class EventKind:
    """One row of the table."""

    meaning: str
    example: Mapping[str, Any] = field(default_factory=dict)
    """The `data` of one such event."""


_IMAGE = {"image": "registry.example/web:1.4", "image_id": "sha256:5c1f..."}

AGENT_EVENTS: dict[str, EventKind] = {
    "task.created": EventKind("The engine has made the task's container.", {"container": "4f0c2b", "slot": "2"}),
    "task.started": EventKind(
        "The container runs.",
        {"container": "4f0c2b", "slot": "2", "ports": [{"target": 80, "published": 32768, "protocol": "tcp"}]},
    ),
    "task.healthy": EventKind("The health check passes.", {"container": "4f0c2b", "slot": "2"}),
    "task.unhealthy": EventKind("The health check fails; the task is ended as failed.", {"container": "4f0c2b"}),
    "task.ready": EventKind("The agent's own check finds it ready.", {"container": "4f0c2b", "slot": "2"}),
    "task.not_ready": EventKind(
        "The agent's own check fails; `why` says how. It runs on, and takes no connections.", {"container": "4f0c2b"}
    ),
    "task.stopping": EventKind("The container is asked to end; `why` says for what reason.", {"container": "4f0c2b"}),
    "task.exited": EventKind(
        "The container ended by itself with code 0.", {"exit_code": 0, "ran": 12.5, "log_tail": ["bye"]}
    ),
    "task.stopped": EventKind("The container ended because that was asked for.", {"exit_code": 143, "ran": 3600.0}),
    "task.failed": EventKind(
        "The task ended otherwise, or could not be started; `why` is the error.",
        {"exit_code": 1, "oom_killed": False, "ran": 0.4, "log_tail": ["cannot open config"]},
    ),
    "task.oom": EventKind("The kernel killed the container for want of memory.", {"container": "4f0c2b"}),
    "task.postmortem": EventKind(
        "All that is kept of a task that has ended: at most 16 KiB, on a subject of its own (below).",
        {
            "task": "2s-1f",
            "state": "failed",
            "exit_code": 1,
            "image": "registry.example/web:1.4",
            "health": [{"at": "2026-11-23T06:30:00Z", "exit_code": 1, "output": "no answer"}],
            "log": [{"at": "2026-11-23T06:30:01Z", "text": "cannot open config", "stream": "stderr"}],
        },
    ),
    "task.drifted": EventKind(
        "Its container is no longer what its revision says; `why` says how. Told once, until it is otherwise again.",
        {
            "slot": "2",
            "container": "4f0c2b",
            "differences": [{"what": "memory", "wanted": "67108864", "found": "134217728"}],
            "policy": "report",
        },
    ),
    "task.succeeded_by": EventKind(
        "No leader answers: the agent starts a successor by the restart policy.", {"successor": "2s-1f.r1"}
    ),
    "image.pulling": EventKind(
        "An image is being fetched; told again at most once a second while it goes on.",
        {**_IMAGE, "current": 1048576, "total": 7340032, "status": "Downloading"},
    ),
    "image.pulled": EventKind("An image has been fetched.", _IMAGE),
    "image.loaded": EventKind("An image was brought over the bus.", {"images": ["web:1.4"]}),
    "image.removed": EventKind("An image that nothing needs was removed for want of disk space.", _IMAGE),
    "container.removed": EventKind("A long-ended container was removed.", {"container": "4f0c2b", "slot": "2"}),
    "agent.started": EventKind("An agent begins to work; what runs is adopted.", {"version": "0.1.0", "adopted": 12}),
    "agent.stopping": EventKind("An agent stops; its containers run on.", {}),
    "node.clock_off": EventKind("The node's wall clock is so many seconds off the leader's.", {"seconds": 3600}),
    "node.clock_right": EventKind("The node's wall clock agrees with the leader's again."),
    "engine.lost": EventKind("The container engine does not answer; `why` is its error.", {}),
    "engine.back": EventKind("The container engine answers again.", {"after": 4.2}),
    "events.dropped": EventKind("The agent's journal was full: so many of its oldest events are lost.", {"count": 17}),
}
