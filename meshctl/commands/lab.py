"""`meshctl lab`: a whole mesh on this one machine, and its faults at the press of a key."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from meshctl.lazy import Group

if TYPE_CHECKING:
    from lab.lab import Lab


@click.group(name="lab", cls=Group)
def lab_group() -> None:
    """A mesh of many nodes on this one machine (needs root).

    Each node has a network namespace and a Docker engine of its own; controllers and nats-servers are machines of
    their own, too. Each can be killed, stopped, cut off and healed. Nothing of this machine is changed.
    """
    import logging

    from bus.logs import configure_logging

    configure_logging(level=logging.ERROR)


DEFAULT_NAME = "lab"


def _only_lab() -> str:
    from lab.folders import names

    there = names()
    return there[0] if len(there) == 1 else DEFAULT_NAME


name_option = click.option(
    "--name", default=_only_lab, show_default="the only one there is, else lab", help="Which lab."
)
only_option = click.option(
    "--only", type=click.Choice(["agent", "engine"]), help="Of a node: just its agent, or just its engine's daemons."
)


@lab_group.command("up")
@click.option("--name", default=DEFAULT_NAME, show_default=True, help="What to call it.")
@click.option("--nodes", default=3, show_default=True, help="How many nodes.")
@click.option("--controllers", default=3, show_default=True, help="How many controllers.")
@click.option("--nats", default=3, show_default=True, help="How many nats-servers.")
@click.option("--offline", is_flag=True, help="No way out for the nodes, even where this machine has one.")
@click.option("--keep-broken", is_flag=True, help="Leave what a failed start has made, to look at it.")
def up(name: str, nodes: int, controllers: int, nats: int, offline: bool, keep_broken: bool) -> None:
    """Bring up a lab and make it the current context."""
    import secrets

    from lab.bringup import bring_up
    from lab.outlet import outlet_of
    from lab.plan import make_plan
    from meshctl.contexts import user_contexts

    outlet, why = outlet_of(offline=offline)
    plan = make_plan(name, mesh_id=secrets.token_hex(8), nodes=nodes, controllers=controllers, nats=nats, outlet=outlet)

    def say(line: str) -> None:
        click.echo(f"{name}: {line}" if name == DEFAULT_NAME else f"lab {name}: {line}")

    say(why)
    lab = bring_up(plan, say, keep_broken=keep_broken)
    if nats:
        user_contexts().put(name, lab.credentials_file(), use=True, description=f"lab of {nodes} nodes on this machine")
        named = "" if name == DEFAULT_NAME else f" --name {name}"
        say(f"this is now the current context; take it down with: meshctl lab down{named}")


@lab_group.command("status")
@name_option
@click.option("--format", "style", type=click.Choice(["table", "json"]), default="table", show_default=True)
def status(name: str, style: str) -> None:
    """Show every machine of a lab: how it is, and whether it is cut off."""
    import dataclasses
    import json

    machines = _open(name).status()
    if style == "json":
        click.echo(json.dumps([dataclasses.asdict(machine) for machine in machines], indent=2))
        return
    rows = [("MACHINE", "STATE", "CABLE", "ADDRESS", "SERVICES")]
    for machine in machines:
        services = ", ".join(each if runs else f"{each} (ended)" for each, runs in machine.services.items())
        cable = "-" if machine.state == "off" and machine.kind == "node" else "cut" if machine.cut else "in"
        rows.append((machine.name, machine.state, cable, machine.address, services))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        click.echo("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@lab_group.command("ls")
def ls() -> None:
    """List the labs on this machine."""
    from lab.folders import names

    for name in names():
        click.echo(name)


@lab_group.command("exec", context_settings={"ignore_unknown_options": True})
@name_option
@click.argument("machine")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(name: str, machine: str, command: tuple[str, ...]) -> None:
    """Run a COMMAND inside a MACHINE, e.g. `exec node-1 -- docker ps`."""
    host = _open(name).rack.host(machine)
    environment = host.environment() | {"TERM": os.environ.get("TERM", "dumb")}
    argv = host.command(command)
    os.execvpe(argv[0], argv, environment)  # noqa: S606  (its exit code becomes ours)


@lab_group.command("logs")
@name_option
@click.option("-f", "--follow", is_flag=True, help="Go on as more is written.")
@click.option("-n", "--tail", default=100, show_default=True, help="Lines from the end.")
@click.argument("machine")
@click.argument("service", required=False)
def logs(name: str, follow: bool, tail: int, machine: str, service: str | None) -> None:
    """Show what a MACHINE's SERVICE wrote (default: its agent, controller or nats-server)."""
    lab = _open(name)
    names = [each.name for each in lab.rack.services(lab.plan.machine(machine))]
    if service is not None and service not in names:
        from schemas.errors import NotFound

        raise NotFound(f"{machine} runs no {service}", hint=f"it runs {', '.join(names)}")
    file = lab.log(machine, service or names[-1])
    argv = ["tail", "-n", str(tail), *(["-F"] if follow else []), str(file)]
    os.execvp(argv[0], argv)  # noqa: S606


def _fault(verb: str, help_text: str, done: str, *, parts: bool) -> None:
    """Make the command of a fault: TARGET is a machine or `leader`."""

    def hurt(name: str, targets: tuple[str, ...], only: str | None = None) -> None:
        lab = _open(name)
        act: Callable[..., str] = getattr(lab, verb)
        options: dict[str, Any] = {"only": only} if only else {}
        from lab.folders import changing

        with changing(name):
            for target in targets:
                hit = act(target, **options)
                click.echo(f"{hit}{f' ({only})' if only else ''} {done}")

    command: Callable[..., Any] = click.argument("targets", nargs=-1, required=True, metavar="TARGET...")(hurt)
    command = name_option(command)
    if parts:
        command = only_option(command)
    lab_group.command(verb, help=help_text)(command)


_fault("kill", "End it at once. A node loses its power, with all that runs on it.", "killed", parts=True)
_fault("stop", "End it in good order.", "stopped", parts=True)
_fault("start", "Start what does not run.", "started", parts=True)
_fault("cut", "Pull its network cable: it runs on, and nobody hears it.", "cut off", parts=False)
_fault("heal", "Put its network cable back.", "healed", parts=False)


@lab_group.command("down")
@name_option
@click.option("--all", "every", is_flag=True, help="All labs, and what a crash has left of one.")
def down(name: str, every: bool) -> None:
    """Remove all of a lab; nothing is left of it."""
    from lab import folders

    for each in folders.names() if every else (name,):
        with folders.changing(each):
            there = folders.remove(each)
        _forget_context(each)
        click.echo(f"lab {each} {'is gone' if there else 'was not there'}")


def _forget_context(name: str) -> None:
    from lab.paths import LabPaths, labs_root
    from meshctl.contexts import user_contexts

    contexts = user_contexts()
    known = contexts.all().get(name)
    if known and known.credentials.startswith(f"{LabPaths(labs_root() / name).root}/"):
        contexts.remove(name)


def _open(name: str) -> Lab:
    from lab.lab import Lab

    return Lab.open(name)
