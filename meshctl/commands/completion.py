"""`meshctl completion`: the script that a shell sources."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    bash:  source <(meshctl completion bash)
    zsh:   source <(meshctl completion zsh)
    fish:  meshctl completion fish | source
    """
    kind = get_completion_class(shell)
    assert kind is not None, "the choices are click's own"
    root = ctx.find_root().command
    click.echo(kind(root, {}, "meshctl", "_MESHCTL_COMPLETE").source())
