"""`x-mesh.pre_start`: what runs to its end before a task's container is made."""

from __future__ import annotations

from meshctl.compose.cursor import At
from meshctl.compose.environment import read_environment
from meshctl.compose.project import Project
from meshctl.compose.scalars import text, words
from schemas.spec import PreStart

STEPS_LIMIT = 10
"""The most steps of one service."""


def read_pre_start(service: At, project: Project) -> tuple[PreStart, ...]:
    """The steps in their order."""
    at = service.dig("x-mesh", "pre_start")
    if at is None:
        return ()
    steps = [_step(each, project) for each in at.elements()]
    if len(steps) > STEPS_LIMIT:
        at.refuse(f"{len(steps)} steps, more than {STEPS_LIMIT}", "do several in one command")
    return tuple(step for step in steps if step is not None)


def _step(at: At, project: Project) -> PreStart | None:
    if not at.is_mapping:
        at.refuse("a step is a mapping", "write `- command: ...`")
        return None
    command = words(at.get("command"))
    if not command:
        (at.get("command") or at).refuse("a step without a command", "write `command: ...`")
        return None
    return PreStart(
        command=command,
        image=text(at.get("image")),
        entrypoint=words(at.get("entrypoint")),
        environment=read_environment(at, project),
        user=text(at.get("user")),
        working_dir=text(at.get("working_dir")),
    )
