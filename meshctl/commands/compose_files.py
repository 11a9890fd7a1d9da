"""How commands are told of Compose files, and how those are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from meshctl.commands.options import F
from meshctl.session import Session

if TYPE_CHECKING:
    from meshctl.compose.load import LoadedStack


def compose_options(*, required: bool) -> Callable[[F], F]:
    """-c/--compose-file and --profile."""
    text = "A Compose file; may be given several times, later ones add to earlier ones; - reads stdin."
    profile = "Also the services of this profile."
    spelling = ("-c", "--compose-file", "files")

    def decorate(command: F) -> F:
        command = click.option("--profile", "profiles", multiple=True, metavar="NAME", help=profile)(command)
        return click.option(*spelling, multiple=True, required=required, metavar="FILE", help=text)(command)

    return decorate


resolve_option = click.option(
    "--resolve-image",
    type=click.Choice(["always", "changed", "never"]),
    default="always",
    show_default=True,
    help="When nodes are asked what an image is.",
)


def load_files(session: Session, stack: str, files: tuple[str, ...], profiles: tuple[str, ...]) -> LoadedStack:
    """Read the Compose files and print their warnings."""
    from meshctl.compose.load import load_stack

    loaded = load_stack(files, stack=stack or None, environment=session.environ, profiles=profiles)
    for warning in loaded.warnings:
        click.echo(click.style("warning:", fg="yellow") + f" {warning}", err=True)
    return loaded
