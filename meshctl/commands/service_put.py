"""`meshctl service create` and `update`: flags onto a spec, stored against the version it was made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from meshctl.client import Mesh
from meshctl.commands.options import wait_options
from meshctl.commands.service import known_services, service_group, wait_for_services
from meshctl.flags.applying import changed_spec, new_spec
from meshctl.flags.clicking import create_flags, update_flags
from meshctl.format.times import duration, parse_duration
from meshctl.pulls import telling_pulls
from meshctl.session import Session, pass_session
from meshctl.waiting import Goal
from schemas.errors import Conflict, UsageError
from schemas.serviceapi import DeployAnswer, PutService, ServiceDeploy, ServiceView
from schemas.subjects import is_token, suggest_token

ATTEMPTS = 3
"""An update is made anew so often when somebody else changed the service meanwhile."""


@service_group.command("create", context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False})
@click.argument("image")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND] [ARG...]")
@click.option("--name", required=True, help="The service's name.")
@click.option("--replicas", type=click.IntRange(min=0), help="How many tasks (default 1).")
@click.option("--mode", type=click.Choice(["replicated", "global"]), default="replicated", show_default=True)
@click.option("--env-file", multiple=True, type=click.Path(path_type=Path), help="A file of KEY=VALUE lines.")
@create_flags
@wait_options
@click.option("--no-resolve-image", is_flag=True, help="Do not ask nodes what the image is.")
@pass_session
def create(session: Session, /, image: str, command: tuple[str, ...], detach: bool, timeout: str, **given: Any) -> None:
    """Create a service from IMAGE, and wait until it runs."""
    seconds, name = parse_duration(timeout, "--timeout"), given["name"]
    if not is_token(name):
        raise UsageError(f"'{name}' can't name a service", hint=f"write it as '{suggest_token(name) or 'web'}'")
    if given["mode"] == "global" and given["replicas"] is not None:
        raise UsageError("--replicas makes no sense with --mode global", hint="a global service runs on every node")
    given["env"] = (*(line for path in given["env_file"] for line in _lines(path)), *given["env"])
    spec = new_spec(name, image, command, given, session.environ)

    async def work(mesh: Mesh) -> None:
        request = PutService(
            service=ServiceDeploy(spec=spec, replicas=given["replicas"]), create=True, resolve_image=_resolve(given)
        )
        answer = await telling_pulls(mesh, mesh.put_service(request), lambda line: click.echo(line, err=True))
        _warn(answer)
        click.echo(name)
        await _wait(session, mesh, answer, seconds, detach)

    session.run(work)


@service_group.command("update")
@click.argument("service")
@click.option("--image", help="Another image.")
@click.option("--args", metavar="COMMAND", help="Another command.")
@click.option("--force", is_flag=True, help="Replace all tasks, also without a change.")
@click.option("--replicas", type=click.IntRange(min=0), help="How many tasks.")
@click.option("--canary", type=click.IntRange(min=0), metavar="N", help="So many slots get it, then it waits.")
@update_flags
@wait_options
@click.option("--no-resolve-image", is_flag=True, help="Do not ask nodes what the image is.")
@pass_session
def update(session: Session, /, service: str, detach: bool, timeout: str, **given: Any) -> None:
    """Change a service, and wait until the change runs."""
    seconds = parse_duration(timeout, "--timeout")
    if not any(value not in (None, (), False) for name, value in given.items() if name != "no_resolve_image"):
        raise UsageError(
            "nothing to change", hint="meshctl service update --help lists what can be; --force replaces all"
        )

    change_service(session, service, given, seconds, detach=detach)


def change_service(session: Session, service: str, given: dict[str, Any], seconds: float, *, detach: bool) -> None:
    """Change a service as `update` does with these flags, and wait until that runs."""

    async def work(mesh: Mesh) -> None:
        (view,) = await known_services(mesh, (service,))
        if view.record.mode == "global" and given.get("replicas") is not None:
            raise UsageError(f"service {service} is global: it has one task on every eligible node")
        put = _put(session, mesh, view, given)
        answer = await telling_pulls(mesh, put, lambda line: click.echo(line, err=True))
        _warn(answer)
        click.echo(service)
        await _wait(session, mesh, answer, seconds, detach)

    session.run(work)


async def _put(session: Session, mesh: Mesh, view: ServiceView, given: dict[str, Any]) -> DeployAnswer:
    """Store the change; made anew from what is there when somebody else was faster."""
    for attempt in range(ATTEMPTS):
        spec = changed_spec(view.spec, given, session.environ)
        wanted = ServiceDeploy(spec=spec, replicas=given.get("replicas"), canary=given.get("canary"))
        request = PutService(service=wanted, create=False, expected=view.sequence, resolve_image=_resolve(given))
        try:
            return await mesh.put_service(request)
        except Conflict:
            if attempt + 1 == ATTEMPTS:
                raise
            view = await mesh.service(view.record.name)
    raise AssertionError("ATTEMPTS is at least 1")


async def _wait(session: Session, mesh: Mesh, answer: DeployAnswer, timeout: float, detach: bool) -> None:
    if detach:
        return
    goals = [
        Goal(
            service=deployed.service,
            revision=deployed.revision,
            settled=deployed.change == "unchanged",
            fresh=deployed.change in ("created", "updated"),
        )
        for deployed in answer.services
    ]
    name = goals[0].service
    took = await wait_for_services(session, mesh, goals, timeout, f"the update of {name}")
    click.echo(f"Service {name} runs, {duration(round(took, 1))}.")


def _resolve(given: dict[str, Any]) -> str:
    """When nodes are asked what the image is: docker asks on create and on --image."""
    return (
        "never" if given.get("no_resolve_image") else "always" if given.get("image") or "mode" in given else "changed"
    )


def _warn(answer: DeployAnswer) -> None:
    for warning in answer.warnings:
        click.echo(click.style("warning:", fg="yellow") + f" {warning}", err=True)


def _lines(path: Path) -> list[str]:
    lines = (line.strip() for line in path.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]
