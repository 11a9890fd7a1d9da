"""`meshctl service ...`: one service at a time. Creating and updating: `service_put`; logs: `service_logs`."""

from __future__ import annotations

import click

from meshctl.client import Mesh
from meshctl.commands.options import (
    DEFAULT_TIMEOUT,
    filter_option,
    format_option,
    listing_options,
    print_listing,
    print_objects,
    wait_options,
)
from meshctl.display import display_for
from meshctl.format.filters import parse_filters
from meshctl.format.near import did_you_mean
from meshctl.format.times import parse_duration
from meshctl.lazy import Group
from meshctl.session import Session, pass_session
from meshctl.views.objects import plain
from meshctl.views.selecting import SERVICE_KEYS, TASK_KEYS, service_admitted, task_admitted
from meshctl.views.services import service_listing
from meshctl.views.tasks import image_names, task_listing
from meshctl.waiting import Goal
from meshctl.watching import wait_until_gone, wait_until_running
from schemas.errors import NotFound, UsageError
from schemas.serviceapi import ServiceView
from schemas.taskapi import TaskView


@click.group(cls=Group, name="service")
def service_group() -> None:
    """Create, scale, update, inspect services and read their logs."""


@service_group.command("ls")
@filter_option(*SERVICE_KEYS)
@listing_options
@pass_session
def ls(session: Session, filters: tuple[str, ...], form: str, quiet: bool, no_trunc: bool) -> None:
    """List services."""
    wanted = parse_filters(filters, SERVICE_KEYS)

    async def work(mesh: Mesh) -> list[ServiceView]:
        return [view for view in (await mesh.services()).services if service_admitted(view, wanted)]

    print_listing(session, service_listing(session.run(work), no_trunc=no_trunc), form, quiet, no_trunc)


@service_group.command("ps")
@click.argument("services", nargs=-1, required=True, metavar="SERVICE...")
@filter_option(*TASK_KEYS)
@listing_options
@pass_session
def ps(
    session: Session, services: tuple[str, ...], filters: tuple[str, ...], form: str, quiet: bool, no_trunc: bool
) -> None:
    """List the tasks of services, with the last ended ones of each slot and why they ended."""
    wanted = parse_filters(filters, TASK_KEYS)

    async def work(mesh: Mesh) -> tuple[list[TaskView], tuple[ServiceView, ...]]:
        found: list[TaskView] = []
        for service in services:
            tasks = (await mesh.tasks(service=service)).tasks
            if not tasks:
                await known_services(mesh, (service,))
            found += [task for task in tasks if task_admitted(task, wanted)]
        return found, (await mesh.services()).services

    tasks, views = session.run(work)
    listing = task_listing(tasks, session.now, images=image_names(views), no_trunc=no_trunc)
    print_listing(session, listing, form, quiet, no_trunc)
    for view in views:
        for trouble in view.troubles if view.record.name in services else ():
            click.echo(f"{view.record.name}: {trouble}", err=True)


@service_group.command("inspect")
@click.argument("services", nargs=-1, required=True, metavar="SERVICE...")
@format_option
@pass_session
def inspect(session: Session, services: tuple[str, ...], form: str) -> None:
    """Show all that is known of services: what is wanted, its spec, and how far it is."""

    async def work(mesh: Mesh) -> list[ServiceView]:
        await known_services(mesh, services)
        return [await mesh.service(service) for service in services]

    print_objects([plain(view) for view in session.run(work)], form)


@service_group.command("scale")
@click.argument("wanted", nargs=-1, required=True, metavar="SERVICE=REPLICAS...")
@wait_options
@pass_session
def scale(session: Session, wanted: tuple[str, ...], detach: bool, timeout: str) -> None:
    """Set how many tasks services have."""
    seconds = parse_duration(timeout, "--timeout")
    replicas = dict(_scale_of(text) for text in wanted)

    async def work(mesh: Mesh) -> None:
        views = await known_services(mesh, tuple(replicas))
        for view in views:
            if view.record.mode == "global":
                raise UsageError(f"service {view.record.name} is global: it has one task on every eligible node")
        await mesh.scale(replicas)
        for name, count in replicas.items():
            click.echo(f"{name} scaled to {count}")
        if not detach:
            goals = [Goal(service=name, scaled=True) for name in replicas]
            await wait_for_services(session, mesh, goals, seconds, "the scaling")

    session.run(work)


@service_group.command("rm")
@click.argument("services", nargs=-1, required=True, metavar="SERVICE...")
@click.option("-d", "--detach", is_flag=True, help="Exit at once instead of waiting until nothing of it runs.")
@click.option("--timeout", default=DEFAULT_TIMEOUT, show_default=True, metavar="DURATION", help="How long to wait.")
@pass_session
def rm(session: Session, services: tuple[str, ...], detach: bool, timeout: str) -> None:
    """Remove services. Named volumes stay."""
    seconds = parse_duration(timeout, "--timeout")

    async def work(mesh: Mesh) -> None:
        await known_services(mesh, services)
        await mesh.remove_services(services)
        click.echo("\n".join(services))
        if not detach:
            await wait_until_gone(mesh, services, timeout=seconds, display=display_for(session.environ))

    session.run(work)


async def known_services(mesh: Mesh, names: tuple[str, ...]) -> list[ServiceView]:
    """The services of these names, in their order. Raises NotFound for the first that is not there."""
    views = {view.record.name: view for view in (await mesh.services()).services}
    for name in names:
        if name not in views:
            hint = did_you_mean(name, views, "meshctl service ls shows all")
            raise NotFound(f"there is no service '{name}'", hint=hint)
    return [views[name] for name in names]


async def wait_for_services(session: Session, mesh: Mesh, goals: list[Goal], timeout: float, what: str) -> float:
    """Wait until these services run as wanted; the seconds it took."""
    return await wait_until_running(
        mesh, goals, stack="", timeout=timeout, display=display_for(session.environ), what=what
    )


def _scale_of(text: str) -> tuple[str, int]:
    name, _, count = text.rpartition("=")
    if not name or not count.isdigit():
        raise UsageError(f"'{text}' is not SERVICE=REPLICAS", hint="e.g. meshctl service scale web=5")
    return name, int(count)
