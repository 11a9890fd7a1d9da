"""`meshctl stack history | diff | rollback`: the numbered past of a whole stack."""

from __future__ import annotations

from itertools import pairwise

import click

from meshctl.client import Mesh
from meshctl.commands.options import listing_options, print_listing, revision_pair, wait_options
from meshctl.commands.stack import stack_group, wait_for_stack
from meshctl.format.output import Column, Listing
from meshctl.format.times import ago, duration, parse_duration
from meshctl.session import Session, pass_session
from meshctl.views.compositions import changes_between, differences_between, going_back_lines
from meshctl.waiting import Goal
from schemas.errors import UsageError
from schemas.stackapi import RollbackStack, StackHistory, StackRevisionView

REVISIONS = (
    Column("REVISION", "Revision"),
    Column("CREATED", "Created"),
    Column("SERVICES", "Services"),
    Column("STATE", "State"),
    Column("CHANGES", "Changes", 60),
)


@stack_group.command("history")
@click.argument("stack")
@listing_options
@pass_session
def history(session: Session, stack: str, form: str, quiet: bool, no_trunc: bool) -> None:
    """List the kept revisions of a stack, newest first."""

    async def work(mesh: Mesh) -> StackHistory:
        return await mesh.stack_history(stack)

    revisions = session.run(work).revisions
    before = {later.number: earlier for later, earlier in pairwise(revisions)}
    rows = [_row(view, before.get(view.number), session.now) for view in revisions]
    print_listing(session, Listing(columns=REVISIONS, rows=rows, key="Revision"), form, quiet, no_trunc)


@stack_group.command("diff")
@click.argument("stack")
@click.argument("revisions", metavar="A..B")
@pass_session
def diff(session: Session, stack: str, revisions: str) -> None:
    """Show what differs between two revisions of a stack, service by service."""
    wanted = first, second = revision_pair(revisions, f"meshctl stack diff {stack}")

    async def work(mesh: Mesh) -> StackHistory:
        return await mesh.stack_history(stack, wanted)

    views = {view.number: view for view in session.run(work).revisions}
    lines = differences_between(views[first], views[second])
    click.echo("\n".join(lines) if lines else f"revisions {first} and {second} are the same")


@stack_group.command("rollback")
@click.argument("stack")
@click.option("--to", type=click.IntRange(min=1), metavar="N", help="Go back to revision N of the stack.")
@click.option("--last-good", is_flag=True, help="Go back to the last revision all of whose services came up.")
@click.option("--preview", is_flag=True, help="Only tell what would be done.")
@wait_options
@pass_session
def rollback(
    session: Session, stack: str, to: int | None, last_good: bool, preview: bool, detach: bool, timeout: str
) -> None:
    """Go back to an older revision of a whole stack in one step, and wait until it runs.

    Services that it did not have are removed; those that it had and that are gone come back. Without --to: to the last
    good revision before this one, or to the one before.
    """
    seconds = parse_duration(timeout, "--timeout")
    if to and last_good:
        raise UsageError("--to and --last-good can't be had together")

    async def work(mesh: Mesh) -> None:
        answer = await mesh.rollback_stack(RollbackStack(stack=stack, to=to or 0, last_good=last_good, preview=preview))
        lines = going_back_lines(answer)
        if preview or not lines:
            same = f"Stack {stack} is at revision {answer.revision} already: nothing to do"
            click.echo("\n".join([f"Stack {stack} would go to revision {answer.revision}", *lines]) if lines else same)
            return
        click.echo("\n".join([f"Stack {stack} goes to revision {answer.revision}", *lines]))
        if detach:
            return
        goals = [Goal(service=each.service, settled=each.change == "unchanged") for each in answer.services]
        took = await wait_for_stack(session, mesh, stack, goals, answer.pruned, seconds, f"the roll-back of {stack}")
        click.echo(f"Stack {stack} runs revision {answer.revision}, {duration(round(took, 1))}.")

    session.run(work)


def _row(view: StackRevisionView, before: StackRevisionView | None, now: float) -> dict[str, str]:
    words = ("target" * view.target, "last good" if view.last_good else "good" * view.good)
    return {
        "Revision": str(view.number),
        "Created": ago(view.created_at, now),
        "Services": str(len(view.services)),
        "State": ", ".join(word for word in words if word),
        "Changes": ", ".join(changes_between(before, view)) if before is not None else "",
    }
