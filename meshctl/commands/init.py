"""`meshctl init`: the streams of a mesh on NATS servers that run already."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

import click

from bus.credentials import read_credentials
from bus.users import Credentials
from meshctl.connection import connected
from meshctl.contexts import credentials_for
from meshctl.session import Session, pass_session, quiet_logs
from schemas.errors import UsageError
from schemas.subjects import is_token, suggest_token

TIMEOUT = 5.0


@click.command("init")
@click.option("--credentials", type=click.Path(path_type=Path), help="The operator's (default: the context's).")
@click.option("--mesh-id", default="", help="The mesh's name (default: one that is made up).")
@click.option(
    "--replicas",
    type=click.Choice(["1", "3", "5"]),
    default="3",
    show_default=True,
    help="On how many NATS servers each record is kept.",
)
@click.option("--context", "name", default="", help="Also name it as a context and use it.")
@pass_session
def init_command(session: Session, credentials: Path | None, mesh_id: str, replicas: str, name: str) -> None:
    """Create a mesh on running NATS servers: its three streams and its record. What exists is never touched."""
    mesh_id = mesh_id or f"mesh-{secrets.token_hex(4)}"
    if not is_token(mesh_id):
        raise UsageError(f"'{mesh_id}' can't be a mesh's name", hint=f"write it as '{suggest_token(mesh_id)}'")
    if name and credentials is None:
        raise UsageError("--context needs --credentials", hint="the file that the context is to name")
    found = (
        read_credentials(credentials)
        if credentials
        else credentials_for(session.context, session.environ, session.contexts)
    )
    quiet_logs(debug=session.debug)
    asyncio.run(_create(session, found, mesh_id, int(replicas)))
    if name and credentials is not None:
        session.contexts.put(name, credentials, use=True)
    click.echo(mesh_id)


async def _create(session: Session, credentials: Credentials, mesh_id: str, replicas: int) -> None:
    from bus.nats_admin import create_mesh

    async with connected(credentials, session.clock, TIMEOUT) as bus:
        await create_mesh(bus, mesh_id, replicas, clock=session.clock)
