"""`meshctl volume ...`: named volumes, each on one node."""

from __future__ import annotations

import click

from meshctl.client import Mesh
from meshctl.commands.options import filter_option, listing_options, print_listing
from meshctl.format.filters import parse_filters
from meshctl.format.near import did_you_mean
from meshctl.lazy import Group
from meshctl.session import Session, pass_session
from meshctl.views.images import volume_listing
from meshctl.views.selecting import VOLUME_KEYS, volume_admitted
from schemas.errors import NotFound, Refused, UsageError
from schemas.volumeapi import VolumeView


@click.group(cls=Group, name="volume")
def volume_group() -> None:
    """List and remove named volumes."""


@volume_group.command("ls")
@filter_option(*VOLUME_KEYS)
@listing_options
@pass_session
def ls(session: Session, filters: tuple[str, ...], form: str, quiet: bool, no_trunc: bool) -> None:
    """List named volumes with their nodes and the services that name them."""
    wanted = parse_filters(filters, VOLUME_KEYS)

    async def work(mesh: Mesh) -> list[VolumeView]:
        return [view for view in (await mesh.volumes()).volumes if volume_admitted(view, wanted)]

    print_listing(session, volume_listing(session.run(work)), form, quiet, no_trunc)


@volume_group.command("rm")
@click.argument("volumes", nargs=-1, required=True, metavar="VOLUME...")
@click.option("--node", default="", help="The node that has it (needed where several have one of that name).")
@pass_session
def rm(session: Session, volumes: tuple[str, ...], node: str) -> None:
    """Remove volumes with all that is in them. Refused while a service names them."""

    async def work(mesh: Mesh) -> None:
        known = (await mesh.volumes()).volumes
        chosen = [_choose(list(known), name, node) for name in volumes]
        for view in chosen:
            await mesh.remove_volume(view.node, view.name)
            click.echo(view.name)

    session.run(work)


def _choose(known: list[VolumeView], name: str, node: str) -> VolumeView:
    """The volume that is meant. Raises NotFound, UsageError (several), Refused (in use)."""
    found = [view for view in known if view.name == name and node in ("", view.node)]
    if not found:
        where = f" on node {node}" if node else ""
        hint = did_you_mean(name, {view.name for view in known}, "meshctl volume ls shows all")
        raise NotFound(f"there is no volume '{name}'{where}", hint=hint)
    if len(found) > 1:
        nodes = ", ".join(view.node for view in found)
        raise UsageError(f"{len(found)} nodes have a volume '{name}'", hint=f"say which with --node: {nodes}")
    if found[0].services:
        users = ", ".join(found[0].services)
        raise Refused(f"volume '{name}' belongs to {users}", hint="remove the service first")
    return found[0]
