"""docs/FROM-SWARM.md names only commands, flags and keys that there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from meshctl.compose.keys import KEYS, Outcome
from meshctl.main import cli
from tests.unit.compose.reading import load

DOC = (Path(__file__).resolve().parents[3] / "docs" / "FROM-SWARM.md").read_text()
COMMANDS = sorted({" ".join(found.split()) for found in re.findall(r"`(meshctl [^`]+)`", DOC)})


@pytest.mark.parametrize("line", COMMANDS)
def test_each_command_and_flag_that_is_named_exists(line: str) -> None:
    command: click.Command = cli
    context = click.Context(cli)
    words = shlex.split(line)[1:]
    while words and isinstance(command, click.Group):
        found = command.get_command(context, words.pop(0))
        assert found is not None, line
        command = found
    flags = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("-")} <= flags


def test_the_table_of_keys_says_what_the_list_says() -> None:
    rows = {key.path: key.outcome for key in KEYS}
    told = 0
    for line in DOC.split("## Stack files")[1].split("\n## ")[0].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        outcome = next((outcome for outcome in Outcome if cells[-1].startswith(outcome.value)), None)
        for key in re.findall(r"`([a-z_.]+)`", cells[0]) if outcome else ():
            assert rows.get(f"services.*.{key}", rows.get(key)) in (outcome, None), line
            told += 1
    assert told > 20


def test_the_example_of_a_second_file_is_understood() -> None:
    second = re.search(r"```yaml\n(.*?)```", DOC, re.DOTALL)
    assert second is not None
    text = "\n".join(line.removeprefix("   ") for line in second[1].splitlines())
    first = "services: {web: {image: a, ports: ['8080:80'], networks: [n]}}\nnetworks: {n: }"
    assert load(first, text).services[0].spec.task.container.ports[0].published == 8080
