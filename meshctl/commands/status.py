"""`meshctl status`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import click

from meshctl.client import Mesh
from meshctl.commands.options import format_option, print_objects
from meshctl.session import Session, pass_session
from meshctl.views.objects import plain
from meshctl.views.status import status_text
from schemas.errors import StoreMissing
from schemas.memberapi import NodeList
from schemas.serviceapi import ServiceList
from schemas.statusapi import Status

T = TypeVar("T")


@click.command("status")
@format_option
@pass_session
def status_command(session: Session, form: str) -> None:
    """Show how the mesh is: leader, nodes, services, and all that is not as it should be."""

    async def work(mesh: Mesh) -> tuple[Status, NodeList, ServiceList]:
        async with asyncio.TaskGroup() as group:
            status = group.create_task(mesh.status())
            nodes = group.create_task(_unless_missing(mesh.nodes(), NodeList(nodes=())))
            services = group.create_task(_unless_missing(mesh.services(), ServiceList(services=())))
        return status.result(), nodes.result(), services.result()

    status, nodes, services = session.run(work)
    if form != "table":
        print_objects([plain(status)], form)
        return
    click.echo(status_text(status, nodes.nodes, services.services, session.now, color=session.color))


async def _unless_missing(reading: Awaitable[T], empty: T) -> T:
    """What is read; nothing, where the store is missing: the status itself says that."""
    try:
        return await reading
    except StoreMissing:
        return empty
