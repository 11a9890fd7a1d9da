"""`meshctl network ...`: networks between the nodes."""

from __future__ import annotations

import click

from meshctl.client import Mesh
from meshctl.commands.options import format_option, listing_options, print_listing, print_objects, wait_options
from meshctl.commands.service_put import change_service
from meshctl.examining import examine_nodes
from meshctl.flags.values import checked_alias
from meshctl.format.times import parse_duration
from meshctl.lazy import Group
from meshctl.session import Session, pass_session
from meshctl.views.diagnoses import diagnosis_listing, hints, summary
from meshctl.views.networks import network_listing
from meshctl.views.objects import plain
from schemas.errors import UsageError
from schemas.netapi import NetworkView
from schemas.network import NetworkRecord
from schemas.nodeapi import Diagnosis
from schemas.subjects import is_token, suggest_token


@click.group(cls=Group, name="network")
def network_group() -> None:
    """Networks between the nodes."""


@network_group.command("ls")
@listing_options
@pass_session
def ls(session: Session, form: str, quiet: bool, no_trunc: bool) -> None:
    """List networks with their subnets and how many nodes and services are on them."""

    async def work(mesh: Mesh) -> list[NetworkView]:
        return list((await mesh.networks()).networks)

    print_listing(session, network_listing(session.run(work)), form, quiet, no_trunc)


@network_group.command("create")
@click.argument("name")
@click.option("--subnet", default="", metavar="CIDR", help="Default: a free /16 is chosen.")
@click.option("--node-prefix", default=24, show_default=True, help="The range that each node gets from the subnet.")
@click.option("--mtu", default=0, metavar="BYTES", help="Default: the interface's, less 50 for the tunnel.")
@click.option("--internal", is_flag=True, help="Without a way out.")
@click.option("--attachable", is_flag=True, help="On every node, for containers of `docker run`.")
@click.option("--label", "labels", multiple=True, metavar="K=V", help="May be given several times.")
@click.option("-o", "--opt", "options", multiple=True, metavar="K=V", help="A driver option.")
@click.option("-d", "--driver", type=click.Choice(["overlay"]), default="overlay", help="There is only one.")
@pass_session
def create(
    session: Session,
    name: str,
    subnet: str,
    node_prefix: int,
    mtu: int,
    internal: bool,
    attachable: bool,
    labels: tuple[str, ...],
    options: tuple[str, ...],
    driver: str,  # noqa: ARG001 (there is only one)
) -> None:
    """Make a network that stacks name as external."""
    if not is_token(name):
        better = suggest_token(name) or "network"
        raise UsageError(f"'{name}' can't be a network's name", hint=f"write {better}")
    record = NetworkRecord(
        name=name,
        subnet=subnet,
        node_prefix=max(0, node_prefix),
        mtu=max(0, mtu),
        internal=internal,
        attachable=attachable,
        labels=dict(label.partition("=")[::2] for label in labels),
        options=dict(option.partition("=")[::2] for option in options),
    )

    async def work(mesh: Mesh) -> NetworkView:
        return await mesh.create_network(record)

    click.echo(session.run(work).record.name)


@network_group.command("inspect")
@click.argument("networks", nargs=-1, required=True, metavar="NETWORK...")
@format_option
@pass_session
def inspect(session: Session, networks: tuple[str, ...], form: str) -> None:
    """Show all that is known of networks: what each node has, and who answers behind which name."""

    async def work(mesh: Mesh) -> list[NetworkView]:
        return [await mesh.network(name) for name in networks]

    print_objects([plain(view) for view in session.run(work)], form)


@network_group.command("connect")
@click.argument("network")
@click.argument("service")
@click.option("--alias", "aliases", multiple=True, metavar="NAME", help="A further name of the service there.")
@wait_options
@pass_session
def connect(session: Session, network: str, service: str, aliases: tuple[str, ...], detach: bool, timeout: str) -> None:
    """Put a service on a further network: a new revision, whose tasks replace the old ones.

    The same as `service update --network-add name=NETWORK,alias=NAME SERVICE`.
    """
    seconds = parse_duration(timeout, "--timeout")
    words = ",".join((f"name={network}", *(f"alias={checked_alias(alias, '--alias')}" for alias in aliases)))
    change_service(session, service, {"network_add": (words,)}, seconds, detach=detach)


@network_group.command("disconnect")
@click.argument("network")
@click.argument("service")
@wait_options
@pass_session
def disconnect(session: Session, network: str, service: str, detach: bool, timeout: str) -> None:
    """Take a service off a network: a new revision, whose tasks replace the old ones."""
    seconds = parse_duration(timeout, "--timeout")
    change_service(session, service, {"network_rm": (network,)}, seconds, detach=detach)


@network_group.command("doctor")
@click.argument("nodes", nargs=-1, metavar="[NODE...]")
@click.option("-a", "--all", "every", is_flag=True, help="Also what is well.")
@listing_options
@pass_session
def doctor(session: Session, nodes: tuple[str, ...], every: bool, form: str, quiet: bool, no_trunc: bool) -> None:
    """Try tunnels, MTU, names and published ports from every node to every other, and say what is broken and why.

    Ends with 1 if anything is. NODE...: only from these.
    """

    async def work(mesh: Mesh) -> tuple[list[Diagnosis], dict[str, str]]:
        return await examine_nodes(mesh, nodes)

    diagnoses, silent = session.run(work)
    print_listing(session, diagnosis_listing(diagnoses, silent, every=every), form, quiet, no_trunc)
    for hint in hints(diagnoses):
        click.echo(f"  {hint}", err=True)
    click.echo(summary(diagnoses, silent), err=True)
    if silent or any(not finding.ok for each in diagnoses for finding in each.findings):
        raise click.exceptions.Exit(1)


@network_group.command("rm")
@click.argument("networks", nargs=-1, required=True, metavar="NETWORK...")
@pass_session
def rm(session: Session, networks: tuple[str, ...]) -> None:
    """Remove networks. Refused while a service is on one of them."""

    async def work(mesh: Mesh) -> None:
        await mesh.remove_networks(networks)

    session.run(work)
    for name in networks:
        click.echo(name)
