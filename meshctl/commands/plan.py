"""`meshctl plan`: what a deploy would do, told without doing it; and plans as files."""

from __future__ import annotations

from pathlib import Path

import click

from meshctl.client import Mesh
from meshctl.commands.compose_files import compose_options, load_files, resolve_option
from meshctl.commands.options import format_option, print_objects
from meshctl.session import Session, pass_session
from meshctl.views.objects import plain
from meshctl.views.plans import plan_lines
from schemas.errors import BadMessage, UsageError
from schemas.planapi import PLAN_FORMAT, PlanFile, PlanStack, StackPlan
from schemas.wire import decode, encode

CHANGES = 1
"""The exit code of a plan that would change something."""


@click.command("plan")
@click.argument("stack", required=False, default="")
@compose_options(required=True)
@click.option("--prune", is_flag=True, help="As if deployed with --prune.")
@resolve_option
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Keep the plan, for stack deploy --plan.")
@format_option
@pass_session
@click.pass_context
def plan_command(
    ctx: click.Context,
    session: Session,
    stack: str,
    files: tuple[str, ...],
    profiles: tuple[str, ...],
    prune: bool,
    resolve_image: str,
    out: Path | None,
    form: str,
) -> None:
    """Show what `stack deploy` would do: the difference, where tasks would go and why, and what would find no place.

    Exits with 0 if there is nothing to do, with 1 if there is, with 2 or more on an error.
    """
    loaded = load_files(session, stack, files, profiles)
    request = PlanStack(
        stack=loaded.name,
        services=loaded.services,
        networks=loaded.networks,
        prune=prune,
        resolve_image=resolve_image,
    )

    async def work(mesh: Mesh) -> StackPlan:
        return await mesh.plan_stack(request)

    plan = session.run(work)
    for warning in plan.warnings:
        click.echo(click.style("warning:", fg="yellow") + f" {warning}", err=True)
    if form == "table":
        click.echo("\n".join(plan_lines(plan)))
    else:
        print_objects([plain(plan)], form)
    if out is not None:
        kept = PlanFile(plan=plan, networks=loaded.networks, prune=prune, made_at=session.now)
        out.write_bytes(encode(kept) + b"\n")
    if plan.changes:
        ctx.exit(CHANGES)


def read_plan(path: Path) -> PlanFile:
    """A plan that was kept. Raises UsageError: it is none, or not there."""
    try:
        kept = decode(path.read_bytes(), PlanFile)
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from error
    except BadMessage as error:
        raise UsageError(f"{path} is no plan: {error.message}", hint="meshctl plan --out FILE makes one") from error
    if kept.format != PLAN_FORMAT:
        raise UsageError(f"{path} is of another version of meshctl", hint="make the plan anew: meshctl plan --out FILE")
    return kept
