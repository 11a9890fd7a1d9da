"""Networks as rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from meshctl.format.output import Column, Listing
from schemas.netapi import NetworkView

NETWORKS = (
    Column("NAME", "Name"),
    Column("SUBNET", "Subnet"),
    Column("NODES", "Nodes"),
    Column("SERVICES", "Services", 60),
    Column("STACK", "Stack"),
)


def network_listing(networks: Iterable[NetworkView]) -> Listing:
    """Networks by name; where a subnet can't be had, why."""
    return Listing(columns=NETWORKS, rows=[_row(view) for view in networks], key="Name")


def _row(view: NetworkView) -> dict[str, Any]:
    held = view.allocation
    nodes = len(held.nodes) if held is not None else 0
    return {
        "Name": view.record.name,
        "Subnet": (held.subnet or held.why) if held is not None else "",
        "Nodes": f"{nodes}/{view.ceiling}" if view.ceiling else str(nodes),
        "Services": ", ".join(view.services),
        "Stack": view.record.stack,
        "Driver": "overlay",
        "Scope": "mesh",
        "Internal": view.record.internal,
    }
