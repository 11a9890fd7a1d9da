"""Rows of `image ls` and `volume ls`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from meshctl.format.filters import Filters, is_one_of, starts_with
from meshctl.format.output import Column, Listing
from meshctl.format.sizes import decimal_size
from meshctl.format.times import ago
from schemas.nodeapi import ImageList, ImageView
from schemas.volumeapi import VolumeView

IMAGE_KEYS = ("reference", "node", "dangling")

IMAGES = (
    Column("REPOSITORY", "Repository"),
    Column("TAG", "Tag"),
    Column("IMAGE ID", "ID"),
    Column("CREATED", "CreatedSince"),
    Column("SIZE", "Size"),
    Column("NODES", "Nodes", 40),
)

VOLUMES = (Column("VOLUME NAME", "Name"), Column("NODE", "Node"), Column("SERVICES", "Services", 60))


def image_listing(lists: Iterable[ImageList], filters: Filters, now: float, *, no_trunc: bool = False) -> Listing:
    """Images by reference; one line for each, with the nodes that hold it."""
    holders: dict[tuple[str, str], tuple[ImageView, list[str]]] = {}
    for listed in lists:
        for image in listed.images:
            for tag in image.tags or ("<none>:<none>",):
                if _admitted(tag, listed.node, filters):
                    holders.setdefault((tag, image.image_id), (image, []))[1].append(listed.node)
    rows = [_image_row(tag, *holders[tag, image_id], now, no_trunc) for tag, image_id in sorted(holders)]
    return Listing(columns=IMAGES, rows=rows, key="ID")


def volume_listing(volumes: Iterable[VolumeView]) -> Listing:
    """Volumes by name and node."""
    rows: list[dict[str, Any]] = [
        {
            "Name": view.name,
            "Node": view.node + ("" if view.node_status in ("", "ready") else f" ({view.node_status})"),
            "Services": ", ".join(view.services),
            "Driver": "local",
            "Scope": "local",
            "NodeStatus": view.node_status,
        }
        for view in sorted(volumes, key=lambda view: (view.name, view.node))
    ]
    return Listing(columns=VOLUMES, rows=rows, key="Name")


def _admitted(tag: str, node: str, filters: Filters) -> bool:
    dangling = "true" if tag.startswith("<none>") else "false"
    return (
        starts_with(filters, "reference", tag)
        and is_one_of(filters, "node", node)
        and is_one_of(filters, "dangling", dangling)
    )


def _image_row(tag: str, image: ImageView, nodes: list[str], now: float, no_trunc: bool) -> dict[str, Any]:
    repository, _, name = tag.rpartition(":")
    short = image.image_id.removeprefix("sha256:")[:12]
    return {
        "Repository": repository,
        "Tag": name,
        "ID": image.image_id if no_trunc else short,
        "CreatedSince": ago(image.created, now),
        "Size": decimal_size(image.size),
        "Nodes": ", ".join(sorted(nodes)),
        "Bytes": image.size,
    }
