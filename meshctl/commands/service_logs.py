"""`meshctl service logs`: of a service or of one task."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from meshctl.client import Mesh
from meshctl.commands.service import service_group
from meshctl.commands.task import choose_task
from meshctl.format.near import did_you_mean
from meshctl.format.times import parse_moment
from meshctl.logs import Reading, Source, follow, history, sources
from meshctl.session import Session, pass_session
from schemas.errors import NotFound, UsageError
from schemas.nodeapi import LogLine
from schemas.taskapi import TaskView

COLOURS = ("cyan", "yellow", "green", "magenta", "blue", "bright_cyan", "bright_yellow", "bright_green")


@service_group.command("logs")
@click.argument("service", metavar="SERVICE|TASK")
@click.option("-f", "--follow", "following", is_flag=True, help="Go on with new lines, also of tasks that start later.")
@click.option(
    "-n", "--tail", default="all", show_default=True, metavar="N", help="Lines from the end of each task's log."
)
@click.option("--since", default="", metavar="TIME", help="Only newer lines: 10m (ago), or 2026-11-23T06:30:00Z.")
@click.option("-t", "--timestamps", is_flag=True, help="Show when each line was written.")
@click.option("--raw", is_flag=True, help="Only the lines, without saying whose they are.")
@click.option("--no-task-ids", is_flag=True, help="Do not show ids of tasks.")
@pass_session
def logs(
    session: Session,
    service: str,
    following: bool,
    tail: str,
    since: str,
    timestamps: bool,
    raw: bool,
    no_task_ids: bool,
) -> None:
    """Show what a service's tasks (or one task) have written, in the order of time."""
    if tail != "all" and not tail.isdigit():
        raise UsageError(f"--tail: '{tail}' is no number of lines", hint="write a number, or all")
    start = parse_moment(since, "--since", session.now) if since else 0.0
    warned: set[str] = set()

    def warn(text: str) -> None:
        if text not in warned:
            warned.add(text)
            click.echo(click.style("warning:", fg="yellow") + f" {text}", err=True)

    async def work(mesh: Mesh) -> None:
        wanted, one = await _meant(mesh, service)
        width = max((len(_label(source, no_task_ids)) for source in wanted), default=0)
        reading = Reading(tail=-1 if tail == "all" else int(tail), since=start, warn=warn)

        def tell(source: Source, line: LogLine) -> None:
            prefix = "" if raw else _prefix(source, width, no_task_ids, session.color)
            click.echo(f"{prefix}{line.at + ' ' if timestamps else ''}{line.text}", err=line.stream == "stderr")

        async def find() -> Sequence[Source]:
            return [] if one else sources((await mesh.tasks(service=service, ended=False)).tasks)

        async for source, line in history(mesh, wanted, reading):
            tell(source, line)
        if following:
            sys.stdout.flush()
            await follow(mesh, wanted, reading, find, tell)

    session.run(work)


async def _meant(mesh: Mesh, text: str) -> tuple[list[Source], bool]:
    """The tasks of the service of that name, else the one task; and whether it is one task."""
    services = [view.record.name for view in (await mesh.services()).services]
    if text in services:
        return sources((await mesh.tasks(service=text)).tasks), False
    known: list[TaskView] = [task for task in (await mesh.tasks()).tasks if task.id]
    try:
        task = choose_task(known, text)
    except NotFound:
        hint = did_you_mean(text, services, "meshctl service ls shows all services")
        raise NotFound(f"there is no service and no task '{text}'", hint=hint) from None
    found = sources([task])
    if not found:
        raise NotFound(f"task {task.id} has no log: it has not started yet", hint="meshctl service ps tells why")
    return found, True


def _label(source: Source, no_task_ids: bool) -> str:
    name = f"{source.service}.{source.slot}"
    return f"{name}@{source.node}" if no_task_ids else f"{name}.{source.task}@{source.node}"


def _prefix(source: Source, width: int, no_task_ids: bool, color: bool) -> str:
    label = f"{_label(source, no_task_ids):<{width}} | "
    if not color:
        return label
    return click.style(label, fg=COLOURS[sum(source.task.encode()) % len(COLOURS)])
