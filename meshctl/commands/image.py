"""`meshctl image ...`: images to nodes without a registry."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import click

from meshctl.archives import archive_file, docker_binary, inspect_local, saved_image
from meshctl.client import Mesh
from meshctl.commands.node import known_nodes
from meshctl.commands.options import filter_option, listing_options, print_listing
from meshctl.format.filters import parse_filters
from meshctl.lazy import Group
from meshctl.loading import Loading, loading_for
from meshctl.session import Session, pass_session
from meshctl.transfer import Sent, send_archive
from meshctl.views.images import IMAGE_KEYS, image_listing
from schemas.errors import MeshError, NotFound, Unreachable, UsageError
from schemas.nodeapi import ImageList


@click.group(cls=Group, name="image")
def image_group() -> None:
    """Bring images to nodes without a registry, and list those there."""


@image_group.command("push")
@click.argument("image")
@click.option("--node", "nodes", multiple=True, metavar="NODE", help="Only there (default: all ready nodes).")
@click.option("-f", "--force", is_flag=True, help="Also to nodes that have it already.")
@pass_session
def push(session: Session, image: str, nodes: tuple[str, ...], force: bool) -> None:
    """Send IMAGE from this machine's own engine to nodes."""
    docker = docker_binary()

    async def work(mesh: Mesh) -> None:
        local = await inspect_local(docker, image)
        targets = await _targets(mesh, nodes)
        if not force:
            targets = await _without(mesh, targets, image, local.image_id)
        if targets:
            with loading_for(session.environ, targets, local.size) as loading:
                sent = await _send(mesh, targets, saved_image(docker, image), loading)
            _tell(sent)

    session.run(work)


@image_group.command("load")
@click.argument("files", nargs=-1, metavar="[FILE...]", type=click.Path(path_type=Path))
@click.option("-i", "--input", "inputs", multiple=True, metavar="FILE", type=click.Path(path_type=Path), help="Same")
@click.option("--node", "nodes", multiple=True, metavar="NODE", help="Only there (default: all ready nodes).")
@pass_session
def load(session: Session, files: tuple[Path, ...], inputs: tuple[Path, ...], nodes: tuple[str, ...]) -> None:
    """Send archives of images, made by `docker save`, to nodes."""
    paths = inputs + files
    if not paths:
        raise UsageError("which archive?", hint="meshctl image load FILE... (docker save IMAGE -o FILE makes one)")
    for path in paths:
        if not path.is_file():
            raise UsageError(f"{path}: there is no such file", hint="docker save IMAGE -o FILE makes one")
    sizes = {path: path.stat().st_size for path in paths}

    async def work(mesh: Mesh) -> None:
        targets = await _targets(mesh, nodes)
        for path, size in sizes.items():
            with loading_for(session.environ, targets, size) as loading:
                sent = await _send(mesh, targets, archive_file(path), loading)
            _tell(sent)

    session.run(work)


@image_group.command("ls")
@click.option("--node", "nodes", multiple=True, metavar="NODE", help="Only there (default: all ready nodes).")
@filter_option(*IMAGE_KEYS)
@listing_options
@pass_session
def ls(
    session: Session, nodes: tuple[str, ...], filters: tuple[str, ...], form: str, quiet: bool, no_trunc: bool
) -> None:
    """List the images that nodes have."""
    wanted = parse_filters(filters, IMAGE_KEYS)

    async def work(mesh: Mesh) -> list[ImageList]:
        return await _listed(mesh, await _targets(mesh, nodes))

    listing = image_listing(session.run(work), wanted, session.now, no_trunc=no_trunc)
    print_listing(session, listing, form, quiet, no_trunc)


async def _targets(mesh: Mesh, nodes: tuple[str, ...]) -> list[str]:
    """The nodes that are meant. Raises NotFound."""
    if nodes:
        return [view.node for view in await known_nodes(mesh, tuple(dict.fromkeys(nodes)))]
    ready = sorted(view.node for view in (await mesh.nodes()).nodes if view.status == "ready")
    if not ready:
        raise NotFound("no node is ready", hint="meshctl node ls shows why")
    return ready


async def _listed(mesh: Mesh, nodes: Sequence[str]) -> list[ImageList]:
    """The images of nodes; one that does not answer is warned of."""
    found: list[ImageList] = []

    async def ask(node: str) -> None:
        try:
            found.append(await mesh.images(node))
        except Unreachable as error:
            click.echo(click.style("warning:", fg="yellow") + f" {error.message}", err=True)

    async with asyncio.TaskGroup() as group:
        for node in nodes:
            group.create_task(ask(node))
    return found


async def _without(mesh: Mesh, nodes: Sequence[str], image: str, image_id: str) -> list[str]:
    """Those of `nodes` that do not have the image under that name."""
    tag = image if ":" in image.rsplit("/", 1)[-1] else f"{image}:latest"
    have = {
        listed.node
        for listed in await _listed(mesh, nodes)
        if any(held.image_id == image_id and tag in held.tags for held in listed.images)
    }
    for node in sorted(have):
        click.echo(f"{node}: has it already")
    return [node for node in nodes if node not in have]


async def _send(
    mesh: Mesh, nodes: Sequence[str], source: AbstractAsyncContextManager[AsyncIterator[bytes]], loading: Loading
) -> list[Sent]:
    async with source as archive:
        return await send_archive(mesh, nodes, archive, loading.sent)


def _tell(results: list[Sent]) -> None:
    """A line for each node. Raises the first error, so that the exit code tells."""
    failed: list[tuple[str, MeshError]] = []
    for result in results:
        if result.error is not None:
            failed.append((result.node, result.error))
            click.echo(f"{result.node}: {result.error.message}", err=True)
        else:
            click.echo(f"{result.node}: {', '.join(result.images) or 'loaded'}")
    if failed:
        node, error = failed[0]
        count = f"{len(failed)} of {len(results)} nodes"
        raise type(error)(f"{count} did not take it; {node}: {error.message}", hint=error.hint)
