"""`meshctl service history | diff | rollback | pause | resume`: a service's numbered past, and holding a rollout."""

from __future__ import annotations

from itertools import pairwise

import click

from meshctl.client import Mesh
from meshctl.commands.options import listing_options, print_listing, revision_pair, wait_options
from meshctl.commands.service import known_services, service_group, wait_for_services
from meshctl.format.output import Column, Listing
from meshctl.format.times import ago, duration, parse_duration
from meshctl.session import Session, pass_session
from meshctl.views.differences import differences
from meshctl.waiting import Goal
from schemas.errors import NotFound
from schemas.revisionapi import History, RevisionView

REVISIONS = (
    Column("REVISION", "Revision"),
    Column("CREATED", "Created"),
    Column("IMAGE", "Image", 50),
    Column("STATE", "State"),
    Column("CHANGES", "Changes"),
)


@service_group.command("history")
@click.argument("service")
@listing_options
@pass_session
def history(session: Session, service: str, form: str, quiet: bool, no_trunc: bool) -> None:
    """List the kept revisions of a service, newest first."""

    async def work(mesh: Mesh) -> History:
        return await mesh.history(service)

    revisions = session.run(work).revisions
    before = {later.number: earlier for later, earlier in pairwise(revisions)}
    rows = [_row(view, before.get(view.number), session.now) for view in revisions]
    print_listing(session, Listing(columns=REVISIONS, rows=rows, key="Revision"), form, quiet, no_trunc)


@service_group.command("diff")
@click.argument("service")
@click.argument("revisions", metavar="A..B")
@pass_session
def diff(session: Session, service: str, revisions: str) -> None:
    """Show what differs between two revisions of a service."""
    first, second = revision_pair(revisions, f"meshctl service diff {service}")

    async def work(mesh: Mesh) -> History:
        return await mesh.history(service)

    kept = {view.number: view.spec for view in session.run(work).revisions}
    for number in (first, second):
        if number not in kept:
            hint = "kept are " + ", ".join(map(str, sorted(kept)))
            raise NotFound(f"service {service} has no revision {number}", hint=hint)
    lines = differences(kept[first], kept[second])
    click.echo("\n".join(lines) if lines else f"revisions {first} and {second} are the same")


@service_group.command("rollback")
@click.argument("service")
@click.option("--to", type=click.IntRange(min=1), metavar="N", help="Go back to revision N.")
@wait_options
@pass_session
def rollback(session: Session, service: str, to: int | None, detach: bool, timeout: str) -> None:
    """Go back to the last good revision, or to the one before; and wait until it runs."""
    seconds = parse_duration(timeout, "--timeout")

    async def work(mesh: Mesh) -> None:
        answer = await mesh.rollback(service, to or 0)
        deployed, *dragged = answer.services
        if deployed.change == "unchanged":
            click.echo(f"Service {service} is at revision {deployed.revision} already")
        else:
            click.echo(f"Service {service} goes back to revision {deployed.revision}")
        if detach:
            return
        goal = Goal(service=service, revision=0, settled=deployed.change == "unchanged")
        followers = [Goal(service=each.service, revision=each.revision, fresh=True) for each in dragged]
        took = await wait_for_services(session, mesh, [goal, *followers], seconds, f"the roll-back of {service}")
        click.echo(f"Service {service} runs revision {deployed.revision}, {duration(round(took, 1))}.")

    session.run(work)


@service_group.command("promote")
@click.argument("service")
@wait_options
@pass_session
def promote(session: Session, service: str, detach: bool, timeout: str) -> None:
    """Give the revision of a canary that stands to all slots, and wait until it runs."""
    seconds = parse_duration(timeout, "--timeout")

    async def work(mesh: Mesh) -> None:
        (view,) = await known_services(mesh, (service,))
        await mesh.promote(service)
        click.echo(f"Service {service}: revision {view.record.target} goes to all slots")
        if not detach:
            goals = [Goal(service=service, revision=view.record.target)]
            took = await wait_for_services(session, mesh, goals, seconds, f"the promotion of {service}")
            click.echo(f"Service {service} runs revision {view.record.target}, {duration(round(took, 1))}.")

    session.run(work)


@service_group.command("abort")
@click.argument("service")
@wait_options
@pass_session
def abort(session: Session, service: str, detach: bool, timeout: str) -> None:
    """Take a canary back: all slots get the revision that they had, and wait until that runs."""
    seconds = parse_duration(timeout, "--timeout")

    async def work(mesh: Mesh) -> None:
        (deployed, *_) = (await mesh.abort(service)).services
        click.echo(f"Service {service} goes back to revision {deployed.revision}")
        if not detach:
            what = f"the roll-back of {service}"
            took = await wait_for_services(session, mesh, [Goal(service=service)], seconds, what)
            click.echo(f"Service {service} runs revision {deployed.revision}, {duration(round(took, 1))}.")

    session.run(work)


@service_group.command("pause")
@click.argument("services", nargs=-1, required=True, metavar="SERVICE...")
@pass_session
def pause(session: Session, services: tuple[str, ...]) -> None:
    """Halt rollouts: nothing is replaced or scaled; what ends still comes back as it was."""
    _hold(session, services, paused=True)


@service_group.command("resume")
@click.argument("services", nargs=-1, required=True, metavar="SERVICE...")
@pass_session
def resume(session: Session, services: tuple[str, ...]) -> None:
    """Let paused rollouts go on."""
    _hold(session, services, paused=False)


def _hold(session: Session, services: tuple[str, ...], *, paused: bool) -> None:
    async def work(mesh: Mesh) -> None:
        await known_services(mesh, services)
        await mesh.pause(services, paused=paused)
        for name in services:
            click.echo(f"{name} {'paused' if paused else 'resumed'}")

    session.run(work)


def _row(view: RevisionView, before: RevisionView | None, now: float) -> dict[str, str]:
    words = ("target" * view.target, "runs" * view.runs, "good" * view.good)
    changes = differences(before.spec, view.spec) if before is not None else []
    return {
        "Revision": str(view.number),
        "Created": ago(view.created_at, now),
        "Image": view.spec.task.container.image,
        "State": ", ".join(word for word in words if word),
        "Changes": ", ".join(line.split(":")[0].removeprefix("~ ") for line in changes[:4])
        + "..." * (len(changes) > 4),
    }
