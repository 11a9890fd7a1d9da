"""`meshctl node ...`: Docker's nouns for nodes, and drain, activate, pause as words of their own."""

from __future__ import annotations

import click

from meshctl.client import Mesh
from meshctl.commands.options import filter_option, format_option, listing_options, print_listing, print_objects
from meshctl.draining import wait_until_empty
from meshctl.format.filters import parse_filters
from meshctl.format.near import did_you_mean
from meshctl.format.times import parse_duration
from meshctl.lazy import Group
from meshctl.session import Session, pass_session
from meshctl.views.fingerprints import difference_listing
from meshctl.views.nodes import node_listing
from meshctl.views.objects import plain
from meshctl.views.selecting import NODE_KEYS, TASK_KEYS, node_admitted, task_admitted
from meshctl.views.tasks import image_names, task_listing
from schemas.errors import NotFound, Refused, UsageError
from schemas.memberapi import NodeView
from schemas.records import Availability
from schemas.taskapi import TaskView


@click.group(cls=Group, name="node")
def node_group() -> None:
    """List, label, drain and remove nodes."""


@node_group.command("ls")
@filter_option(*NODE_KEYS)
@listing_options
@pass_session
def ls(session: Session, filters: tuple[str, ...], form: str, quiet: bool, no_trunc: bool) -> None:
    """List nodes: what they are, what is set aside on them, how many tasks run."""
    wanted = parse_filters(filters, NODE_KEYS)

    async def work(mesh: Mesh) -> tuple[NodeView, ...]:
        return (await mesh.nodes()).nodes

    everyone = session.run(work)
    shown = [view for view in everyone if node_admitted(view, wanted)]
    print_listing(session, node_listing(shown, session.now, everyone), form, quiet, no_trunc)


@node_group.command("diff")
@click.argument("first", metavar="NODE")
@click.argument("second", metavar="NODE")
@listing_options
@pass_session
def diff(session: Session, first: str, second: str, form: str, quiet: bool, no_trunc: bool) -> None:
    """Show in what two nodes differ: kernel, engine, agent, storage, cgroups, security options, sysctls."""

    async def work(mesh: Mesh) -> dict[str, NodeView]:
        await known_nodes(mesh, (first, second))
        return {view.node: view for view in (await mesh.nodes()).nodes}

    views = session.run(work)
    listing = difference_listing(views[first], views[second])
    if not listing.rows and form == "table":
        click.echo(f"{first} and {second} do not differ")
        return
    print_listing(session, listing, form, quiet, no_trunc)


@node_group.command("ps")
@click.argument("nodes", nargs=-1, metavar="[NODE...]")
@filter_option(*TASK_KEYS)
@listing_options
@pass_session
def ps(
    session: Session, nodes: tuple[str, ...], filters: tuple[str, ...], form: str, quiet: bool, no_trunc: bool
) -> None:
    """List the tasks of nodes (default: all), with the last ended ones."""
    wanted = parse_filters(filters, TASK_KEYS)

    async def work(mesh: Mesh) -> tuple[list[TaskView], dict[str, str]]:
        await known_nodes(mesh, nodes)
        found = [task for task in (await mesh.tasks()).tasks if task.node and (not nodes or task.node in nodes)]
        names = image_names((await mesh.services()).services)
        return [task for task in found if task_admitted(task, wanted)], names

    tasks, images = session.run(work)
    listing = task_listing(tasks, session.now, images=images, no_trunc=no_trunc)
    print_listing(session, listing, form, quiet, no_trunc)


@node_group.command("inspect")
@click.argument("nodes", nargs=-1, required=True, metavar="NODE...")
@format_option
@pass_session
def inspect(session: Session, nodes: tuple[str, ...], form: str) -> None:
    """Show all that is known of nodes."""

    async def work(mesh: Mesh) -> list[NodeView]:
        return await known_nodes(mesh, nodes)

    print_objects([plain(view) for view in session.run(work)], form)


@node_group.command("update")
@click.argument("node")
@click.option("--availability", type=click.Choice(["active", "pause", "drain"]), help="What may run there.")
@click.option("--label-add", multiple=True, metavar="KEY=VALUE", help="Add or change a label.")
@click.option("--label-rm", multiple=True, metavar="KEY", help="Remove a label.")
@pass_session
def update(
    session: Session,
    node: str,
    availability: Availability | None,
    label_add: tuple[str, ...],
    label_rm: tuple[str, ...],
) -> None:
    """Change a node's availability or labels."""
    if availability is None and not label_add and not label_rm:
        raise UsageError("nothing to change", hint="--availability, --label-add KEY=VALUE or --label-rm KEY")
    labels = dict(_label(text) for text in label_add)

    async def work(mesh: Mesh) -> None:
        await known_nodes(mesh, (node,))
        await mesh.update_node(node, availability=availability, labels_add=labels, labels_remove=label_rm)

    session.run(work)
    click.echo(node)


def _set_availability(session: Session, nodes: tuple[str, ...], availability: Availability) -> None:
    async def work(mesh: Mesh) -> None:
        await known_nodes(mesh, nodes)
        for node in nodes:
            await mesh.update_node(node, availability=availability)
            click.echo(node)

    session.run(work)


@node_group.command("drain")
@click.argument("nodes", nargs=-1, required=True, metavar="NODE...")
@click.option("-f", "--force", is_flag=True, help="Also end what can't run elsewhere.")
@click.option("-d", "--detach", is_flag=True, help="Do not wait until the nodes are empty.")
@click.option("--timeout", default="10m", show_default=True, metavar="DURATION", help="How long to wait.")
@pass_session
def drain(session: Session, nodes: tuple[str, ...], force: bool, detach: bool, timeout: str) -> None:
    """Move all tasks away, replacements first, and give no new ones. Ctrl-C leaves it going."""
    seconds = parse_duration(timeout, "--timeout")

    async def work(mesh: Mesh) -> None:
        await known_nodes(mesh, nodes)
        for node in nodes:
            await mesh.update_node(node, availability="drain", force=force)
            if detach:
                click.echo(node)
        if not detach:
            await wait_until_empty(mesh, nodes, timeout=seconds)

    session.run(work)


@node_group.command("activate")
@click.argument("nodes", nargs=-1, required=True, metavar="NODE...")
@pass_session
def activate(session: Session, nodes: tuple[str, ...]) -> None:
    """Take part again (after drain or pause)."""
    _set_availability(session, nodes, "active")


@node_group.command("pause")
@click.argument("nodes", nargs=-1, required=True, metavar="NODE...")
@pass_session
def pause(session: Session, nodes: tuple[str, ...]) -> None:
    """Give no new tasks; those there run on."""
    _set_availability(session, nodes, "pause")


@node_group.command("rm")
@click.argument("nodes", nargs=-1, required=True, metavar="NODE...")
@click.option("-f", "--force", is_flag=True, help="Also a node that is not down.")
@pass_session
def rm(session: Session, nodes: tuple[str, ...], force: bool) -> None:
    """Forget nodes that are down for good."""

    async def work(mesh: Mesh) -> None:
        await known_nodes(mesh, nodes)
        for node in nodes:
            await mesh.remove_node(node, force=force)
            click.echo(node)

    session.run(work)


@node_group.command("prune")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@pass_session
def prune(session: Session, force: bool) -> None:
    """Forget all nodes that are down."""

    async def work(mesh: Mesh) -> None:
        down = [view.node for view in (await mesh.nodes()).nodes if view.status == "down"]
        if not down:
            click.echo("No node is down.")
            return
        if not force and not click.confirm(f"Forget {', '.join(sorted(down))}?"):
            raise Refused("nothing was removed")
        for node in sorted(down):
            await mesh.remove_node(node)
            click.echo(node)

    session.run(work)


@node_group.command("confirm-dead")
@click.argument("node")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@pass_session
def confirm_dead(session: Session, node: str, force: bool) -> None:
    """Say that nothing runs on a node any more (it is off), so that what may not run twice is replaced."""

    async def work(mesh: Mesh) -> None:
        await known_nodes(mesh, (node,))
        if not force and not click.confirm(f"Is {node} surely off? If it is not, its tasks will run twice."):
            raise Refused("nothing was confirmed")
        await mesh.order("node.confirm-dead", node=node)

    session.run(work)
    click.echo(node)


async def known_nodes(mesh: Mesh, names: tuple[str, ...]) -> list[NodeView]:
    """The nodes of these names, in their order. Raises NotFound for the first that is not there, with the nearest."""
    views = {view.node: view for view in (await mesh.nodes()).nodes} if names else {}
    for name in names:
        if name not in views:
            raise NotFound(f"there is no node '{name}'", hint=did_you_mean(name, views, "meshctl node ls shows all"))
    return [views[name] for name in names]


def _label(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    if not key:
        raise UsageError(f"--label-add: '{text}' is not KEY=VALUE")
    return key, value
