"""Help is instant, whole, and imports nothing."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from importlib import import_module

import click
import pytest
from click.testing import CliRunner

from meshctl.main import MEMBERS, cli

HEAVY = ("asyncio", "msgspec", "nats", "rich", "structlog", "ruamel", "bus.commits", "schemas.requests")


def test_help_imports_nothing_heavy() -> None:
    script = "import sys, json\nfrom meshctl.main import main\nmain(['--help'])\nprint(json.dumps(sorted(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    loaded = set(json.loads(out.splitlines()[-1]))
    assert loaded.isdisjoint(HEAVY), f"imported for --help: {loaded.intersection(HEAVY)}"


def test_help_is_instant() -> None:
    """150 ms is the aim, measured in benchmarks; here five times that, of CPU: others may be busy on the machine."""
    best = 10.0
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "meshctl.main", "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert best < 0.75


def commands() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, member in MEMBERS.items():
        module, _, attribute = member.target.partition(":")
        command = getattr(import_module(module), attribute)
        found.append((name,))
        if isinstance(command, click.Group):
            found += [(name, verb) for verb in command.commands]
    return found


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_tells_what_it_does(command: tuple[str, ...]) -> None:
    ran = CliRunner().invoke(cli, [*command, "--help"])
    assert ran.exit_code == 0, ran.output
    lines = ran.output.splitlines()
    assert lines[0].startswith("Usage: ")
    assert lines[2].strip(), f"{command} says nothing of itself"


def test_the_nouns_have_dockers_verbs() -> None:
    verbs: dict[str, set[str]] = {}
    for noun, *verb in commands():
        verbs.setdefault(noun, set()).update(verb)
    assert {"deploy", "ls", "ps", "services", "rm", "config"} <= verbs["stack"]
    assert {"create", "ls", "ps", "inspect", "scale", "update", "logs", "rm"} <= verbs["service"]
    assert {"ls", "ps", "inspect", "update", "drain", "activate", "pause", "rm", "prune"} <= verbs["node"]
    assert {"push", "load", "ls"} <= verbs["image"]
    assert {"create", "use", "ls", "rm"} <= verbs["context"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_meshctl(shell: str) -> None:
    ran = CliRunner().invoke(cli, ["completion", shell])
    assert ran.exit_code == 0
    assert "_MESHCTL_COMPLETE" in ran.output


def test_completion_of_commands_needs_no_imports_of_theirs() -> None:
    script = "import sys\nfrom meshctl.main import main\nmain([])\n"
    environ = {"_MESHCTL_COMPLETE": "bash_complete", "COMP_WORDS": "meshctl se", "COMP_CWORD": "1"}
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environ, check=False)
    assert (ran.stdout.strip(), ran.stderr, ran.returncode) == ("plain,service", "", 0)
