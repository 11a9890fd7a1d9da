"""docs/MESHCTL.md names every command that there is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from meshctl.main import cli

DOC = (Path(__file__).resolve().parents[3] / "docs" / "MESHCTL.md").read_text()


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """All commands below a group, by their words."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
            if command.invoke_without_command:
                yield (*path, name)
        elif not command.hidden:
            yield (*path, name)


@pytest.mark.parametrize("words", sorted(commands(cli)), ids=" ".join)
def test_every_command_is_named(words: tuple[str, ...]) -> None:
    *nouns, verb = words
    told = rf"\b{' '.join(nouns)} ?(?:[A-Za-z-]+ ?(?:[A-Z]+ )?[|\\]+ ?)*{verb}\b"
    if nouns == ["lab"]:
        told = r"\bmeshctl lab\b"
    assert re.search(told, DOC), f"docs/MESHCTL.md does not name meshctl {' '.join(words)}"
