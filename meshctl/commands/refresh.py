"""`meshctl service refresh`, `meshctl stack refresh`: tags resolved anew; only what moved is rolled."""

from __future__ import annotations

import click

from meshctl.client import Mesh
from meshctl.commands.options import wait_options
from meshctl.commands.service import service_group, wait_for_services
from meshctl.commands.stack import stack_group
from meshctl.format.times import duration, parse_duration
from meshctl.pulls import telling_pulls
from meshctl.session import Session, pass_session
from meshctl.waiting import Goal
from schemas.errors import ImageUnavailable
from schemas.refreshapi import Refreshed, RefreshServices

SHORT = 12


@service_group.command("refresh")
@click.argument("services", nargs=-1, metavar="[SERVICE...]")
@wait_options
@pass_session
def refresh(session: Session, services: tuple[str, ...], detach: bool, timeout: str) -> None:
    """Ask nodes anew what the tags of images mean; roll only services whose image has moved. No names: all services."""
    _refresh(session, [RefreshServices(services=services)], parse_duration(timeout, "--timeout"), detach=detach)


@stack_group.command("refresh")
@click.argument("stacks", nargs=-1, required=True, metavar="STACK...")
@wait_options
@pass_session
def refresh_stack(session: Session, stacks: tuple[str, ...], detach: bool, timeout: str) -> None:
    """Ask nodes anew what the tags of a stack's images mean; roll only services whose image has moved."""
    requests = [RefreshServices(stack=stack) for stack in stacks]
    _refresh(session, requests, parse_duration(timeout, "--timeout"), detach=detach)


def _refresh(session: Session, requests: list[RefreshServices], timeout: float, *, detach: bool) -> None:
    async def work(mesh: Mesh) -> None:
        found: list[Refreshed] = []
        for request in requests:
            answer = await telling_pulls(mesh, mesh.refresh(request), lambda line: click.echo(line, err=True))
            found += answer.services
        for each in found:
            click.echo(_line(each))
        moved = [each for each in found if each.change == "moved"]
        if moved and not detach:
            goals = [Goal(service=each.service, revision=each.revision, fresh=True) for each in moved]
            took = await wait_for_services(session, mesh, goals, timeout, "the refresh")
            count = f"{len(moved)} service{'' if len(moved) == 1 else 's'}"
            click.echo(f"Refreshed: {count}, {duration(round(took, 1))}.")
        elif not moved:
            click.echo("Nothing has moved: nothing was done.")
        unknown = [each.service for each in found if each.change == "unknown"]
        if unknown:
            raise ImageUnavailable(f"what the image is now can't be told for {', '.join(unknown)}")

    session.run(work)


def _line(each: Refreshed) -> str:
    match each.change:
        case "moved":
            ids = f"{_short(each.before)} -> {_short(each.after)}"
            return f"{each.service}: {each.image} has moved, {ids}: revision {each.revision}"
        case "same":
            return f"{each.service}: {each.image} has not moved"
        case "fixed":
            return f"{each.service}: {each.image} is named by digest and never moves"
        case _:
            return f"{each.service}: stays as it is: {each.why}"


def _short(image_id: str) -> str:
    return image_id.rpartition("sha256:")[2][:SHORT] or "not pinned"
