"""The shell around `meshctl.waiting`: asks the mesh again and again, shows it, and ends as the machine says."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

import click

from meshctl.client import Mesh
from meshctl.format.times import duration
from meshctl.waiting import Goal, Look, Waiting
from schemas.errors import TimedOut, Unreachable
from schemas.serviceapi import ServiceView
from schemas.taskapi import TaskView

LOOK_EVERY = 0.25
"""Seconds between two looks; more when answers take long (as in a big mesh)."""


SAY_SO_AFTER = 5.0
"""Seconds after which somebody who waits for what does not go on is told how long that may take, and how to leave."""


class Display(Protocol):
    """What shows progress: bars on a terminal, lines elsewhere (`meshctl.display`)."""

    def show(self, look: Look, elapsed: float) -> None:
        """Something may have changed."""
        ...

    def note(self, line: str) -> None:
        """A line that stays."""
        ...

    def close(self) -> None:
        """No more is shown; what is on the screen stays."""
        ...


async def wait_until_running(
    mesh: Mesh, goals: Sequence[Goal], *, stack: str, timeout: float, display: Display, what: str
) -> float:
    """Wait until all `goals` are reached; the seconds it took.

    Raises:
        TimedOut: after `timeout` seconds; reasons were printed for each lagging slot.
        RolloutFailed: it can't be reached; the last log lines were printed.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    waiting = Waiting(goals, started=started, timeout=timeout)
    told = False
    try:
        while True:
            asked = loop.time()
            look = await _look(mesh, waiting, stack, display, asked - started, timeout)
            if look is not None:
                display.show(look, loop.time() - started)
                if look.done:
                    display.close()
                    for line in canaries(look):
                        click.echo(line)
                    return loop.time() - started
                if look.error is not None:
                    display.close()
                    for line in look.details:
                        click.echo(line, err=True)
                    raise look.error
                if not told and loop.time() - started >= SAY_SO_AFTER and any(each.reasons for each in look.progress):
                    told = True
                    display.note(f"waiting up to {duration(timeout)}; Ctrl-C (or a kill) leaves it going")
            await asyncio.sleep(max(LOOK_EVERY, 2 * (loop.time() - asked)))
    except asyncio.CancelledError:
        display.close()
        click.echo(f"\nNo longer waiting; {what} goes on.", err=True)
        raise
    finally:
        display.close()


def canaries(look: Look) -> list[str]:
    """What stands and waits to be promoted or aborted."""
    return [
        f"{item.service}: {item.canary} (meshctl service promote | abort {item.service})"
        for item in look.progress
        if item.canary
    ]


async def _look(
    mesh: Mesh, waiting: Waiting, stack: str, display: Display, elapsed: float, timeout: float
) -> Look | None:
    """One look; None while no controller answers (they may be choosing a leader)."""
    try:
        views, tasks = await _ask(mesh, waiting.services, stack)
    except Unreachable as error:
        if elapsed >= timeout:
            raise TimedOut(f"no controller answered any more: {error.message}", hint=error.hint) from error
        display.note(f"{error.message}; trying again")
        return None
    return waiting.look(views, tasks, asyncio.get_running_loop().time())


async def _ask(mesh: Mesh, services: Sequence[str], stack: str) -> tuple[dict[str, ServiceView], list[TaskView]]:
    one = services[0] if len(services) == 1 else ""
    listed = await mesh.services(stack=stack)
    tasks = await mesh.tasks(service=one, stack="" if one else stack)
    return {view.record.name: view for view in listed.services}, list(tasks.tasks)


async def wait_until_gone(mesh: Mesh, services: Sequence[str], *, timeout: float, display: Display) -> None:
    """Wait until nothing of removed services runs on any node that answers. Raises TimedOut."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    try:
        while True:
            tasks = [task for task in (await mesh.tasks(ended=False)).tasks if task.service in services]
            left = [task for task in tasks if task.id and task.state not in ("lost", "exited", "failed", "pending")]
            if not left:
                return
            if loop.time() >= deadline:
                nodes = ", ".join(sorted({task.node for task in left}))
                raise TimedOut(f"{len(left)} tasks have not ended yet (on {nodes})", hint="they are told to end")
            await asyncio.sleep(LOOK_EVERY)
    except asyncio.CancelledError:
        click.echo("\nNo longer waiting; the removal goes on.", err=True)
        raise
    finally:
        display.close()
