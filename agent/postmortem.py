"""What is kept of a task that has ended: made from the last look at its container, and cut to its limit. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from agent.engine.model import Container
from agent.local import LocalTask
from schemas.nodeapi import LogLine
from schemas.observation import LOG_TAIL_LINES, LOG_TAIL_WIDTH
from schemas.postmortem import POST_MORTEM_LIMIT, POST_MORTEM_LINES, POST_MORTEM_PROBES, HealthProbe, PostMortem
from schemas.spec import TaskSpec
from schemas.wire import encode

LINE_WIDTH = 512
PROBE_WIDTH = 256
ERROR_WIDTH = 1000
"""Characters that are kept of a line of the log, of what a health check printed, and of the error."""


def post_mortem(
    task: LocalTask, container: Container | None, spec: TaskSpec | None, node: str, lines: Sequence[LogLine]
) -> PostMortem:
    """How `task` ended. `container`: as it was last seen; `lines`: the end of its log."""
    state: Literal["exited", "failed"] = "failed" if task.state == "failed" else "exited"
    return fitted(
        PostMortem(
            task=task.id,
            service=task.service,
            slot=task.slot,
            revision=task.revision,
            node=node,
            container=task.container,
            image=spec.container.image[:LINE_WIDTH] if spec is not None else "",
            image_id=task.image,
            state=state,
            exit_code=task.exit_code,
            oom_killed=task.oom_killed,
            error=task.error[:ERROR_WIDTH],
            asked=task.asked,
            started_at=container.started_at if container is not None else 0.0,
            finished_at=container.finished_at if container is not None else 0.0,
            ran=task.ran,
            health=container.probes if container is not None else (),
            log=tuple(lines),
        )
    )


def fitted(found: PostMortem) -> PostMortem:
    """The same within its limit: long lines are cut, then the oldest lines go, then all that was printed."""
    log = tuple(msgspec.structs.replace(line, text=line.text[:LINE_WIDTH]) for line in found.log[-POST_MORTEM_LINES:])
    health = tuple(_cut(probe) for probe in found.health[-POST_MORTEM_PROBES:])
    found = msgspec.structs.replace(found, log=log, health=health, log_cut=found.log_cut or log != found.log)
    while found.log and len(encode(found)) > POST_MORTEM_LIMIT:
        fewer = found.log[(len(found.log) + 3) // 4 :]
        found = msgspec.structs.replace(found, log=fewer, log_cut=True)
    if len(encode(found)) > POST_MORTEM_LIMIT:
        found = msgspec.structs.replace(found, health=(), error=found.error[:PROBE_WIDTH])
    return found


def _cut(probe: HealthProbe) -> HealthProbe:
    return msgspec.structs.replace(probe, output=probe.output[:PROBE_WIDTH])


def log_tail(lines: Sequence[LogLine]) -> tuple[str, ...]:
    """The few last lines that the observation tells of an ended task."""
    return tuple(line.text[:LOG_TAIL_WIDTH] for line in lines[-LOG_TAIL_LINES:])
