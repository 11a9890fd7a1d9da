"""`meshctl rebalance`: what would move so that tasks are spread evenly, and moving it."""

from __future__ import annotations

import asyncio

import click

from meshctl.client import Mesh
from meshctl.commands.options import DEFAULT_TIMEOUT
from meshctl.format.times import duration, parse_duration
from meshctl.session import Session, pass_session
from meshctl.views.rebalance import over, plan_lines, progress_line, skipped_lines
from schemas.errors import RolloutFailed, TimedOut, UsageError
from schemas.rebalance import RebalanceRecord
from schemas.rebalanceapi import RebalanceOrdered, RebalancePlan

LOOK_EVERY = 0.5


@click.command("rebalance")
@click.option("--plan", "only_plan", is_flag=True, help="Show what would be moved (the default).")
@click.option("--apply", "apply_", is_flag=True, help="Move it, and wait until that is done.")
@click.option("--stop", "stop_", is_flag=True, help="Begin no further move of the rebalance under way.")
@click.option("--max-moves", type=click.IntRange(min=1), metavar="N", help="Move at most N tasks.")
@click.option("-d", "--detach", is_flag=True, help="Exit at once instead of waiting until all is moved.")
@click.option("--timeout", default=DEFAULT_TIMEOUT, show_default=True, metavar="DURATION", help="How long to wait.")
@pass_session
def rebalance_command(
    session: Session, only_plan: bool, apply_: bool, stop_: bool, max_moves: int | None, detach: bool, timeout: str
) -> None:
    """Even out where tasks run: the fewest moves, each as its service's update policy says.

    When a node comes back nothing moves by itself. Tasks with named volumes, global services and jobs stay as they are.
    """
    seconds = parse_duration(timeout, "--timeout")
    if only_plan + apply_ + stop_ > 1:
        raise UsageError("--plan, --apply and --stop can't be had together")
    if stop_:
        session.run(_stop)
        return
    if not apply_:

        async def look(mesh: Mesh) -> RebalancePlan:
            return await mesh.plan_rebalance(max_moves or 0)

        click.echo("\n".join(plan_lines(session.run(look))))
        return

    async def work(mesh: Mesh) -> None:
        answer = await mesh.apply_rebalance(max_moves or 0)
        if not answer.order:
            click.echo("Tasks are spread evenly: nothing to move.")
            return
        click.echo(f"Moving {_tasks(len(answer.moves))}")
        if not detach:
            await _wait(mesh, answer, seconds)

    session.run(work)


async def _stop(mesh: Mesh) -> None:
    await mesh.stop_rebalance()
    click.echo("No further move is begun.")


async def _wait(mesh: Mesh, answer: RebalanceOrdered, timeout: float) -> None:
    """Raises RolloutFailed: something was left where it was. TimedOut."""
    loop = asyncio.get_running_loop()
    started, told = loop.time(), ""
    while True:
        view = await mesh.rebalance()
        record = view.record if view.record is not None and view.record.order == answer.order else None
        if record is not None and (line := progress_line(record)) != told:
            told = line
            click.echo(line)
        if record is not None and over(record):
            _tell_end(record, loop.time() - started)
            return
        if loop.time() - started >= timeout:
            hint = "it goes on without you; meshctl rebalance --stop ends it"
            raise TimedOut(f"not all is moved after {duration(timeout)}", hint=hint)
        await asyncio.sleep(LOOK_EVERY)


def _tell_end(record: RebalanceRecord, took: float) -> None:
    left = skipped_lines(record)
    done = len(record.moves) - len(left)
    click.echo(f"Moved {_tasks(done)}, {duration(round(took, 1))}.")
    if left:
        click.echo("\n".join(left))
        raise RolloutFailed(f"{_tasks(len(left))} stayed where they were", hint="they run on there, nothing is lost")


def _tasks(count: int) -> str:
    return f"{count} task{'' if count == 1 else 's'}"
