"""`meshctl version`."""

from __future__ import annotations

from importlib.metadata import version

import click

from meshctl.client import Mesh
from meshctl.commands.options import format_option, print_objects
from meshctl.session import Session, pass_session
from schemas.errors import MeshError


@click.command("version")
@click.option("--client", "client_only", is_flag=True, help="Do not ask the mesh.")
@format_option
@pass_session
def version_command(session: Session, client_only: bool, form: str) -> None:
    """Show the version of meshctl, and of the controllers if they answer."""
    mine, theirs, why = version("dockmesh"), "", ""

    async def work(mesh: Mesh) -> str:
        return (await mesh.status()).version

    if not client_only:
        try:
            theirs = session.run(work)
        except MeshError as error:
            why = error.message
    if form != "table":
        print_objects([{"Client": mine, "Server": theirs, "Error": why}], form)
        return
    click.echo(f"meshctl      {mine}")
    if not client_only:
        click.echo(f"controllers  {theirs or f'unknown: {why}'}")
