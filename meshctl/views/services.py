"""Rows of `service ls`, `stack services` and `stack ls`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from meshctl.format.output import Column, Listing, Row
from meshctl.views.tasks import image_text
from schemas.network import Publication
from schemas.ports import Port
from schemas.serviceapi import ServiceView
from schemas.stackapi import StackView


def _fullness(row: Row) -> str:
    if row["Running"] + row["Completed"] >= row["Desired"]:
        return ""
    return "yellow" if row["Running"] else "red"


SERVICES = (
    Column("NAME", "Name"),
    Column("MODE", "Mode"),
    Column("REPLICAS", "Replicas", colour=_fullness),
    Column("IMAGE", "Image", 50),
    Column("PORTS", "Ports", 50),
)

STACKS = (Column("NAME", "Name"), Column("SERVICES", "Services"), Column("REPLICAS", "Replicas", colour=_fullness))


def service_listing(services: Iterable[ServiceView], *, no_trunc: bool = False) -> Listing:
    """Services by name; one being removed says so."""
    rows = [_row(view, no_trunc=no_trunc) for view in sorted(services, key=lambda view: view.record.name)]
    return Listing(columns=SERVICES, rows=rows, key="Name")


def stack_listing(stacks: Iterable[StackView], services: Iterable[ServiceView]) -> Listing:
    """Stacks by name, with how much of them runs."""
    views = list(services)
    rows: list[dict[str, Any]] = []
    for stack in sorted(stacks, key=lambda stack: stack.stack):
        mine = [view for view in views if view.record.stack == stack.stack]
        running, desired = sum(view.running for view in mine), sum(view.desired for view in mine)
        rows.append(
            {
                "Name": stack.stack,
                "Services": str(len(stack.services)),
                "Replicas": f"{running}/{desired}",
                "Orchestrator": "Dockmesh",
                "Running": running,
                "Desired": desired,
                "Completed": sum(view.rollout.complete for view in mine if view.rollout),
                "Revision": stack.revision,
            }
        )
    return Listing(columns=STACKS, rows=rows, key="Name")


def replicas_text(view: ServiceView) -> str:
    """`3/5`, with Docker's addition where a node may hold only so many."""
    most = view.spec.task.placement.max_per_node
    complete = view.rollout.complete if view.rollout else 0
    done = f" ({complete}/{view.desired} completed)" if complete else ""
    limit = f" (max {most} per node)" if most and view.record.mode == "replicated" else ""
    return f"{view.running}/{view.desired}{done}{limit}" + (" (removing)" if view.record.removed else "")


def ports_text(view: ServiceView) -> str:
    """`*:8080->80/tcp`: the ports that every node has for it; the rest as specified, where they are."""
    texts: list[str] = []
    for port in view.spec.task.container.ports:
        given = [str(each.published) for each in view.published if _is_for(port, each)]
        shown = given or ([port.span] if port.span else [])
        texts += [f"{port.host_ip or '*'}:{each}->{port.target}/{port.protocol}" for each in shown]
    return ", ".join(dict.fromkeys(texts))


def _is_for(port: Port, given: Publication) -> bool:
    same = (port.mode, port.target, port.protocol) == ("ingress", given.target, given.protocol)
    return same and (not port.choices or given.published in port.choices)


def _row(view: ServiceView, *, no_trunc: bool) -> dict[str, Any]:
    container = view.spec.task.container
    rollout = view.rollout
    return {
        "ID": view.record.name,
        "Name": view.record.name,
        "Mode": view.record.mode,
        "Replicas": replicas_text(view),
        "Image": image_text(container.image, no_trunc=no_trunc),
        "Ports": ports_text(view),
        "Stack": view.record.stack,
        "Running": view.running,
        "Desired": view.desired,
        "Completed": rollout.complete if rollout else 0,
        "Revision": view.record.target,
        "Phase": rollout.phase if rollout else "converging",
        "Labels": view.spec.labels,
    }
