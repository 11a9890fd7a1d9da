"""How far nodes are on their way to being empty: what is left on each, what moves, what stays and why."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import click

from meshctl.client import Mesh
from meshctl.format.times import duration
from meshctl.views.states import ended
from schemas.errors import Refused, TimedOut, Unreachable
from schemas.serviceapi import ServiceView
from schemas.taskapi import TaskView

LOOK_EVERY = 0.25
SURE_AFTER = 3.0
"""Seconds for which nothing may have changed before what stays is said to stay."""

_PASSING = ("waits for its turn", "its replacement failed")
"""What stays for such a reason may yet move by itself."""


@dataclass(frozen=True)
class Left:
    """What is left on one node. `stays`: the reasons of those that can't move, with how many each holds for."""

    node: str
    tasks: int
    stays: tuple[tuple[str, int], ...] = ()

    @property
    def stuck(self) -> bool:
        """Nothing moves any more."""
        return 0 < self.tasks <= sum(count for _, count in self.stays)


def left_on(node: str, tasks: Sequence[TaskView], services: Sequence[ServiceView]) -> Left:
    """What is left on a node that answers; a node that is down has nothing left that could move."""
    here = [task for task in tasks if task.node == node and task.id and not ended(task) and task.state != "lost"]
    of = {task.service for task in here}
    said: dict[str, int] = {}
    for view in services:
        for reason in view.rollout.reasons if view.rollout is not None and view.record.name in of else ():
            if reason.text.startswith(f"stays on node {node},") and not any(each in reason.text for each in _PASSING):
                text = f"{view.record.name} {reason.text}"
                said[text] = said.get(text, 0) + reason.count
    return Left(node, len(here), tuple(sorted(said.items())))


async def wait_until_empty(mesh: Mesh, nodes: Sequence[str], *, timeout: float) -> None:
    """Wait until nothing runs on the nodes any more; prints each as it gets empty.

    Raises:
        Refused: what is left can't move. TimedOut: after `timeout` seconds.
    """
    loop = asyncio.get_running_loop()
    started = changed = loop.time()
    waiting = list(nodes)
    shown: tuple[Left, ...] = ()
    try:
        while True:
            found = await _look(mesh, waiting)
            for left in found:
                if not left.tasks:
                    waiting.remove(left.node)
                    click.echo(left.node)
            if not waiting:
                return
            now = loop.time()
            if tuple(found) != shown:
                shown, changed = tuple(found), now
                _show(found, now - started)
            behind = [left for left in found if left.tasks]
            if behind and all(left.stuck for left in behind) and now - changed >= SURE_AFTER:
                raise _stuck(behind)
            if now - started >= timeout:
                told = ", ".join(f"{left.tasks} on {left.node}" for left in behind) or "no controller answers"
                raise TimedOut(f"not empty after {duration(timeout)}: {told}", hint="it goes on without you")
            await asyncio.sleep(LOOK_EVERY)
    except asyncio.CancelledError:
        names = " ".join(waiting)
        click.echo(f"\nNo longer waiting; the drain goes on (meshctl node activate {names} ends it).", err=True)
        raise


async def _look(mesh: Mesh, nodes: Sequence[str]) -> list[Left]:
    try:
        tasks, services = (await mesh.tasks(ended=False)).tasks, (await mesh.services()).services
    except Unreachable:
        return []
    return [left_on(node, tasks, services) for node in nodes]


def _show(found: Sequence[Left], elapsed: float) -> None:
    for left in found:
        if left.tasks:
            click.echo(f"[{elapsed:5.1f}s] {left.node}: {left.tasks} tasks left", err=True)
            for text, count in left.stays:
                click.echo(f"         {text}{f' ({count}x)' if count > 1 else ''}", err=True)


def _stuck(behind: Sequence[Left]) -> Refused:
    told = ", ".join(f"{left.tasks} tasks stay on {left.node}" for left in behind)
    names = " ".join(left.node for left in behind)
    return Refused(
        told,
        hint=f"they go once they can; meshctl node drain --force {names} ends them, "
        f"meshctl node activate {names} takes the drain back",
    )
