"""A click group whose members are imported only when they are called, so that `--help` costs nothing.

The table tells for each name where it lives ("module:attribute") and the one line that help shows for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem


@dataclass(frozen=True)
class Member:
    """Where a command lives, what help says of it, and under which heading."""

    target: str
    help: str
    heading: str = "Commands"


class PlacedGroup(click.Group):
    """A group whose usage errors know of which command they are: click does not say it of all."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command named first. Raises click.UsageError with that command's context."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            command = self.get_command(ctx, ctx.invoked_subcommand or "")
            if error.ctx is None and command is not None:
                error.ctx = click.Context(command, parent=ctx, info_name=ctx.invoked_subcommand)
            raise


class LazyGroup(PlacedGroup):
    """A group made of `Member`s."""

    def __init__(self, *args: Any, members: Mapping[str, Member] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.members = dict(members or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the table's order."""
        return [*self.members, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        member = self.members.get(cmd_name)
        if member is None:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = member.target.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command named first. Raises click.UsageError with the nearest name there is."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise click.UsageError(unknown_command(ctx.command_path, args[0], self.list_commands(ctx)), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands under their headings; nothing is imported for it."""
        headings: dict[str, list[tuple[str, str]]] = {}
        for name, member in self.members.items():
            headings.setdefault(member.heading, []).append((name, member.help))
        for heading, rows in headings.items():
            with formatter.section(heading):
                formatter.write_dl(rows)
        if self.commands:
            super().format_commands(ctx, formatter)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names and help from the table, then options."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [
            CompletionItem(name, help=member.help)
            for name, member in self.members.items()
            if name.startswith(incomplete)
        ]


class Group(PlacedGroup):
    """A group of one noun, which names the nearest verb when one is mistyped."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """In the order in which they were written."""
        return [name for name, command in self.commands.items() if not command.hidden]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command named first. Raises click.UsageError with the nearest name there is."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise click.UsageError(unknown_command(ctx.command_path, args[0], self.list_commands(ctx)), ctx)
        return super().resolve_command(ctx, args)


MEANT = {
    "up": "deploy",
    "down": "rm",
    "remove": "rm",
    "delete": "rm",
    "list": "ls",
    "show": "inspect",
    "describe": "inspect",
    "info": "status",
    "top": "status",
}
"""What other tools call it."""

WHERE = {
    "deploy": "stack deploy",
    "up": "stack deploy",
    "down": "stack rm",
    "ps": "service ps",
    "ls": "service ls",
    "logs": "service logs",
    "scale": "service scale",
    "rm": "service rm",
    "inspect": "service inspect",
    "drain": "node drain",
    "nodes": "node ls",
    "push": "image push",
    "load": "image load",
    "kill": "lab kill",
}
"""Commands that are looked for at the top, and the group they are in."""


def unknown_command(path: str, name: str, known: list[str]) -> str:
    """The sentence for a command that does not exist."""
    near = [MEANT[name]] if MEANT.get(name) in known else get_close_matches(name, known, n=1)
    if " " not in path and name in WHERE:
        near = [f"{path} {WHERE[name]}"]
    return f"{path} has no command '{name}'" + (f"; did you mean '{near[0]}'?" if near else "")
