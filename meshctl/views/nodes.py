"""Rows of `node ls`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from meshctl.format.output import Column, Listing, Row
from meshctl.format.sizes import binary_size
from meshctl.format.times import ago
from meshctl.views.fingerprints import fingerprint, snowflakes
from schemas.memberapi import NodeView

WORDS = {"ready": "Ready", "not-ready": "Not ready", "down": "Down", "unknown": "Unknown"}


def _status_colour(row: Row) -> str:
    return {"ready": "green", "down": "red"}.get(row["Verdict"], "yellow")


COLUMNS = (
    Column("HOSTNAME", "Hostname"),
    Column("STATUS", "Status", colour=_status_colour),
    Column("AVAILABILITY", "Availability", colour=lambda row: "" if row["Availability"] == "Active" else "yellow"),
    Column("CONTROLLER", "ManagerStatus"),
    Column("TASKS", "Tasks"),
    Column("CPUS", "CPUs"),
    Column("MEMORY", "Memory"),
    Column("ENGINE VERSION", "EngineVersion"),
    Column("DIFFERS", "Differs", 40),
    Column("WHY", "Why", 60),
)


def node_listing(nodes: Iterable[NodeView], now: float, everyone: Iterable[NodeView] | None = None) -> Listing:
    """Nodes by name, and in what each is unlike most nodes of the mesh (`everyone`, if `nodes` are some of them).

    The columns DIFFERS and WHY are there only if some node has something to tell.
    """
    listed = sorted(nodes, key=lambda view: view.node)
    odd = snowflakes({view.node: fingerprint(view.facts) for view in (listed if everyone is None else everyone)})
    rows = [{**_row(view, now), "Differs": ", ".join(odd.get(view.node, ()))} for view in listed]
    empty = {key for key in ("Differs", "Why") if not any(row[key] for row in rows)}
    columns = tuple(column for column in COLUMNS if column.field not in empty)
    return Listing(columns=columns, rows=rows, key="Hostname")


def _row(view: NodeView, now: float) -> dict[str, Any]:
    facts = view.facts
    return {
        "ID": view.node,
        "Hostname": view.node,
        "Status": WORDS.get(view.status, view.status),
        "Availability": view.availability.capitalize(),
        "ManagerStatus": "yes" if facts.controller else "",
        "Tasks": f"{view.running}/{view.tasks}" if view.tasks else "0",
        "CPUs": _share(view.reserved_cpus, facts.cpus, lambda cores: f"{cores:g}"),
        "Memory": _share(view.reserved_memory, facts.memory, binary_size),
        "EngineVersion": facts.engine_version,
        "Why": why_text(view, now),
        "Address": facts.address,
        "Verdict": view.status,
        "Labels": view.labels,
        "Instance": view.instance,
        "Running": view.running,
    }


def why_text(view: NodeView, now: float) -> str:
    """Why a node is not ready, and since when; "" if it is."""
    if view.status == "ready":
        return ""
    return " ".join(filter(None, (view.why, f"({_lower(ago(view.since, now))})" if view.since else "")))


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _share(reserved: float, total: float, text: Any) -> str:
    """What there is, with what is set aside if anything is."""
    if not total:
        return ""
    return f"{text(reserved)} of {text(total)}" if reserved else str(text(total))
