"""`meshctl stack ...`: a Compose file as one thing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from meshctl.client import Mesh
from meshctl.commands.compose_files import compose_options, load_files, resolve_option
from meshctl.commands.options import DEFAULT_TIMEOUT, filter_option, listing_options, print_listing, wait_options
from meshctl.commands.plan import read_plan
from meshctl.display import display_for
from meshctl.format.filters import parse_filters
from meshctl.format.near import did_you_mean
from meshctl.format.times import duration, parse_duration
from meshctl.lazy import Group
from meshctl.pulls import telling_pulls
from meshctl.session import Session, pass_session
from meshctl.views.selecting import SERVICE_KEYS, TASK_KEYS, service_admitted, task_admitted
from meshctl.views.services import service_listing, stack_listing
from meshctl.views.tasks import image_names, task_listing
from meshctl.waiting import Goal
from meshctl.watching import wait_until_gone, wait_until_running
from schemas.errors import NotFound, UsageError
from schemas.serviceapi import DeployAnswer, ServiceView
from schemas.stackapi import DeployStack, StackList
from schemas.taskapi import TaskView

WORDS = {"created": "Creating", "updated": "Updating", "scaled": "Scaling", "unchanged": "Unchanged"}


@click.group(cls=Group, name="stack")
def stack_group() -> None:
    """Deploy Compose files and look after what they made."""


@stack_group.command("deploy")
@click.argument("stack", required=False, default="")
@compose_options(required=False)
@click.option("--prune", is_flag=True, help="Remove services of the stack that the files no longer name.")
@click.option(
    "--canary", type=click.IntRange(min=0), metavar="N", help="So many slots get a new revision, then it waits."
)
@resolve_option
@click.option(
    "--plan", "kept", metavar="FILE", help="Do what `meshctl plan --out FILE` told; not if the mesh moved on."
)
@wait_options
@pass_session
def deploy(
    session: Session,
    stack: str,
    files: tuple[str, ...],
    profiles: tuple[str, ...],
    prune: bool,
    canary: int | None,
    resolve_image: str,
    kept: str | None,
    detach: bool,
    timeout: str,
) -> None:
    """Make STACK be what the Compose files say, and wait until it runs.

    STACK may be left out where the file has a top-level `name`. Without a change nothing is replaced.
    """
    seconds = parse_duration(timeout, "--timeout")
    if kept is not None:
        request = _request_of_plan(kept, stack, files)
    elif files:
        loaded = load_files(session, stack, files, profiles)
        request = DeployStack(
            stack=loaded.name,
            services=tuple(msgspec.structs.replace(each, canary=canary) for each in loaded.services),
            networks=loaded.networks,
            prune=prune,
            resolve_image=resolve_image,
        )
    else:
        raise UsageError("no Compose file is named", hint="meshctl stack deploy -c compose.yaml STACK")

    async def work(mesh: Mesh) -> None:
        answer = await telling_pulls(mesh, mesh.deploy_stack(request), lambda line: click.echo(line, err=True))
        _tell(answer)
        if not detach and answer.services:
            await _wait_for_deploy(session, mesh, request.stack, answer, seconds)

    session.run(work)


def _request_of_plan(kept: str, stack: str, files: tuple[str, ...]) -> DeployStack:
    """What a plan told, bound to what it rests on. Raises UsageError."""
    if files:
        raise UsageError("--plan holds what the files said: leave out -c")
    plan = read_plan(Path(kept))
    if stack not in ("", plan.plan.stack):
        raise UsageError(f"the plan is of stack {plan.plan.stack}, not of {stack}")
    return DeployStack(
        stack=plan.plan.stack,
        services=plan.plan.wanted,
        networks=plan.networks,
        prune=plan.prune,
        resolve_image="pinned",
        expected=plan.plan.base,
    )


async def _wait_for_deploy(session: Session, mesh: Mesh, stack: str, answer: DeployAnswer, timeout: float) -> None:
    goals = [
        Goal(
            service=deployed.service,
            revision=deployed.revision,
            settled=deployed.change == "unchanged",
            fresh=deployed.change in ("created", "updated"),
        )
        for deployed in answer.services
    ]
    display = display_for(session.environ)
    what = f"the deploy of {stack}"
    took = await wait_until_running(mesh, goals, stack=stack, timeout=timeout, display=display, what=what)
    if not answer.pruned and all(goal.settled for goal in goals):
        click.echo(f"Stack {stack} is unchanged: nothing was done.")
    else:
        click.echo(f"Stack {stack} runs: {_count(len(goals), 'service')}, {duration(round(took, 1))}.")


@stack_group.command("config")
@click.argument("stack", required=False, default="")
@compose_options(required=True)
@pass_session
def config(session: Session, stack: str, files: tuple[str, ...], profiles: tuple[str, ...]) -> None:
    """Show what the Compose files come to: merged, with variables put in. Asks no mesh."""
    click.echo(load_files(session, stack, files, profiles).rendered().rstrip("\n"))


@stack_group.command("ls")
@listing_options
@pass_session
def ls(session: Session, form: str, quiet: bool, no_trunc: bool) -> None:
    """List stacks."""

    async def work(mesh: Mesh) -> tuple[StackList, list[ServiceView]]:
        return await mesh.stacks(), list((await mesh.services()).services)

    stacks, services = session.run(work)
    print_listing(session, stack_listing(stacks.stacks, services), form, quiet, no_trunc)


@stack_group.command("ps")
@click.argument("stack")
@filter_option(*TASK_KEYS)
@listing_options
@pass_session
def ps(session: Session, stack: str, filters: tuple[str, ...], form: str, quiet: bool, no_trunc: bool) -> None:
    """List the tasks of a stack, with the last ended ones of each slot."""
    wanted = parse_filters(filters, TASK_KEYS)

    async def work(mesh: Mesh) -> tuple[list[TaskView], dict[str, str]]:
        tasks = [task for task in (await mesh.tasks(stack=stack)).tasks if task_admitted(task, wanted)]
        if not tasks:
            await _known_stack(mesh, stack)
        return tasks, image_names((await mesh.services(stack=stack)).services)

    tasks, images = session.run(work)
    listing = task_listing(tasks, session.now, images=images, no_trunc=no_trunc)
    print_listing(session, listing, form, quiet, no_trunc)


@stack_group.command("services")
@click.argument("stack")
@filter_option(*SERVICE_KEYS)
@listing_options
@pass_session
def services(session: Session, stack: str, filters: tuple[str, ...], form: str, quiet: bool, no_trunc: bool) -> None:
    """List the services of a stack."""
    wanted = parse_filters(filters, SERVICE_KEYS)

    async def work(mesh: Mesh) -> list[ServiceView]:
        found = [view for view in (await mesh.services(stack=stack)).services if service_admitted(view, wanted)]
        if not found:
            await _known_stack(mesh, stack)
        return found

    print_listing(session, service_listing(session.run(work), no_trunc=no_trunc), form, quiet, no_trunc)


@stack_group.command("rm")
@click.argument("stacks", nargs=-1, required=True, metavar="STACK...")
@click.option("-d", "--detach", is_flag=True, help="Exit at once instead of waiting until nothing of it runs.")
@click.option("--timeout", default=DEFAULT_TIMEOUT, show_default=True, metavar="DURATION", help="How long to wait.")
@pass_session
def rm(session: Session, stacks: tuple[str, ...], detach: bool, timeout: str) -> None:
    """Remove stacks with all their services. Named volumes stay."""
    seconds = parse_duration(timeout, "--timeout")

    async def work(mesh: Mesh) -> None:
        removed: list[str] = []
        for stack in stacks:
            await _known_stack(mesh, stack)
            names = [view.record.name for view in (await mesh.services(stack=stack)).services]
            await mesh.remove_stack(stack)
            for name in sorted(names):
                click.echo(f"Removing service {name}")
            removed += names
        if not detach:
            await wait_until_gone(mesh, removed, timeout=seconds, display=display_for(session.environ))

    session.run(work)


async def wait_for_stack(
    session: Session, mesh: Mesh, stack: str, goals: list[Goal], gone: Sequence[str], timeout: float, what: str
) -> float:
    """Wait until these services run, and nothing of those that are `gone` does; the seconds it took."""
    display = display_for(session.environ)
    took = 0.0
    if goals:
        took = await wait_until_running(mesh, goals, stack=stack, timeout=timeout, display=display, what=what)
    if gone:
        await wait_until_gone(mesh, gone, timeout=timeout, display=display_for(session.environ))
    return took


def _tell(answer: DeployAnswer) -> None:
    for warning in answer.warnings:
        click.echo(click.style("warning:", fg="yellow") + f" {warning}", err=True)
    for deployed in answer.services:
        if deployed.change == "unchanged":
            click.echo(f"Service {deployed.service} is unchanged")
        else:
            click.echo(f"{WORDS.get(deployed.change, deployed.change)} service {deployed.service}")
    for name in answer.pruned:
        click.echo(f"Removing service {name}")


async def _known_stack(mesh: Mesh, stack: str) -> None:
    """Raises NotFound with the nearest name."""
    known = [view.stack for view in (await mesh.stacks()).stacks]
    if stack not in known:
        raise NotFound(f"there is no stack '{stack}'", hint=did_you_mean(stack, known, "meshctl stack ls shows all"))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
