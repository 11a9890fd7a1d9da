"""`meshctl context ...`: names for meshes."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import click

from bus.credentials import read_credentials, write_credentials
from meshctl.commands.options import listing_options, print_listing
from meshctl.contexts import chosen, credentials_of_url
from meshctl.format.output import Column, Listing
from meshctl.lazy import Group
from meshctl.session import Session, pass_session
from schemas.errors import MeshError, NotFound, UsageError


@click.group(cls=Group, name="context")
def context_group() -> None:
    """Which mesh is spoken to.

    A context is a name for a credentials file. --context beats MESH_CONTEXT beats NATS_URL beats `context use`.
    """


@context_group.command("create")
@click.argument("name")
@click.option("--credentials", type=click.Path(path_type=Path), help="The operator's credentials file (JSON).")
@click.option(
    "--server", "servers", multiple=True, metavar="URL", help="A NATS server; with --user, a file is written."
)
@click.option("--user", default="", help="The user name at --server.")
@click.option("--password-stdin", is_flag=True, help="Read the password at --server from stdin.")
@click.option("--description", default="", help="A word about it, for context ls.")
@click.option("--use/--no-use", default=True, show_default=True, help="Make it the current one.")
@pass_session
def create(
    session: Session,
    name: str,
    credentials: Path | None,
    servers: tuple[str, ...],
    user: str,
    password_stdin: bool,
    description: str,
    use: bool,
) -> None:
    """Name a mesh."""
    if (credentials is None) == (not servers):
        raise UsageError("where is the mesh?", hint="either --credentials FILE, or --server nats://host:4222")
    if credentials is None:
        password = sys.stdin.readline().rstrip("\n") if password_stdin else ""
        found = credentials_of_url(",".join(servers))
        credentials = session.contexts.directory / "credentials" / f"{name}.json"
        write_credentials(credentials, replace(found, user=user or found.user, password=password or found.password))
    elif not credentials.is_file():
        raise UsageError(
            f"{credentials}: there is no such file", hint="an operator's credentials file is made by meshctl init"
        )
    session.contexts.put(name, credentials, use=use, description=description)
    click.echo(name)


@context_group.command("use")
@click.argument("name")
@pass_session
def use(session: Session, name: str) -> None:
    """Make a context the current one."""
    session.contexts.use(name)
    click.echo(name)
    for variable in ("MESH_CONTEXT", "NATS_URL"):
        if session.environ.get(variable):
            click.echo(f"{variable} is set and goes before it", err=True)


@context_group.command("show")
@pass_session
def show(session: Session) -> None:
    """Print the name of the context that is used."""
    name = chosen(session.context, session.environ, session.contexts)
    if not name and not session.environ.get("NATS_URL"):
        raise NotFound("no context is chosen", hint="meshctl context use NAME, or meshctl context create NAME")
    click.echo(name or "(NATS_URL)")


@context_group.command("ls")
@listing_options
@pass_session
def ls(session: Session, form: str, quiet: bool, no_trunc: bool) -> None:
    """List contexts; * marks the current one."""
    current = chosen(session.context, session.environ, session.contexts)
    rows = [
        {
            "Name": name + (" *" if name == current and form == "table" and not quiet else ""),
            "Servers": _servers(context.credentials),
            "Credentials": context.credentials,
            "Description": context.description,
            "Current": name == current,
        }
        for name, context in sorted(session.contexts.all().items())
    ]
    columns = tuple(Column(field.upper(), field) for field in ("Name", "Servers", "Credentials", "Description"))
    print_listing(session, Listing(columns=columns, rows=rows, key="Name"), form, quiet, no_trunc)


@context_group.command("rm")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@pass_session
def rm(session: Session, names: tuple[str, ...]) -> None:
    """Forget contexts; their credentials files stay."""
    for name in names:
        session.contexts.remove(name)
        click.echo(name)


def _servers(path: str) -> str:
    try:
        return ", ".join(read_credentials(Path(path)).servers)
    except (MeshError, OSError) as error:
        return f"({error})"
