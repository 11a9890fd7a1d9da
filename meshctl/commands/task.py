"""`meshctl task inspect`."""

from __future__ import annotations

from typing import Any

import click

from meshctl.client import Mesh
from meshctl.commands.options import format_option, print_objects
from meshctl.lazy import Group
from meshctl.session import Session, pass_session
from meshctl.views.objects import dated, plain
from schemas.errors import NotFound, UsageError
from schemas.taskapi import TaskView


@click.group(cls=Group, name="task")
def task_group() -> None:
    """Look at one task."""


@task_group.command("inspect")
@click.argument("tasks", nargs=-1, required=True, metavar="TASK...")
@format_option
@pass_session
def inspect(session: Session, tasks: tuple[str, ...], form: str) -> None:
    """Show all that is known of tasks: by id, unique prefix of one, name (web.1) or container id.

    Of one that has ended: its post-mortem, too (exit code, health checks, the last lines of its log). That is kept for
    7 days and found by the full id also when nothing else remembers the task.
    """

    async def work(mesh: Mesh) -> list[dict[str, Any]]:
        return [await told_of(mesh, task) for task in tasks]

    print_objects(session.run(work), form)


async def told_of(mesh: Mesh, text: str) -> dict[str, Any]:
    """What the controllers know of a task, and its post-mortem. Raises NotFound where there is neither."""
    try:
        detail = await mesh.task((await find_task(mesh, text)).id)
    except NotFound:
        found = await mesh.post_mortem(text)
        if found is None:
            raise
        return {"id": found.task, "post_mortem": dated(plain(found))}
    found = await mesh.post_mortem(detail.task.id)
    return {**dated(plain(detail)), "post_mortem": dated(plain(found)) if found is not None else None}


async def find_task(mesh: Mesh, text: str) -> TaskView:
    """The task meant by an id, a unique prefix, `service.slot` or a container id (of 4 digits or more)."""
    known = [task for task in (await mesh.tasks()).tasks if task.id]
    return choose_task(known, text)


def choose_task(known: list[TaskView], text: str) -> TaskView:
    """The one of `known` that `text` means. Raises NotFound, or UsageError listing the candidates. Pure."""
    for matches in (
        [task for task in known if task.id == text],
        [task for task in known if text in (f"{task.service}.{task.slot}", f"{task.service}.{task.slot}.{task.id}")][
            :1
        ],
        [task for task in known if task.id.startswith(text)],
        [task for task in known if len(text) >= 4 and task.container.startswith(text)],
    ):
        if len(matches) == 1:
            return matches[0]
        if matches:
            names = ", ".join(f"{task.id} ({task.service}.{task.slot})" for task in matches[:6])
            more = f" and {len(matches) - 6} more" if len(matches) > 6 else ""
            raise UsageError(f"'{text}' means {len(matches)} tasks", hint=f"write more of it: {names}{more}")
    raise NotFound(f"there is no task '{text}'", hint="meshctl service ps SERVICE shows the ids")
