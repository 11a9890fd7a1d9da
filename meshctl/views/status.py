"""`meshctl status`: the mesh on one screen. First what is, then what is not as it should be."""

from __future__ import annotations

from collections.abc import Iterable

import click

from meshctl.format.times import ago
from meshctl.views.nodes import WORDS, why_text
from schemas.memberapi import NodeView
from schemas.records import Reason
from schemas.serviceapi import ServiceView
from schemas.statusapi import Status


def status_text(
    status: Status, nodes: Iterable[NodeView], services: Iterable[ServiceView], now: float, *, color: bool = False
) -> str:
    """The whole screen."""
    lines = [f"{name:<12}{value}" for name, value in _facts(status, color)]
    views = list(services)
    trouble = [*_brake(status, now), *_nodes(nodes, now), *_services(views), *_reasons(status, views)]
    if trouble:
        lines += ["", *(f"{_paint('!', 'yellow', color)} {line}" for line in trouble)]
    return "\n".join(lines)


def _facts(status: Status, color: bool) -> list[tuple[str, str]]:
    others = [
        f"{controller.name}*" if controller.leads or controller.name == status.leader else controller.name
        for controller in sorted(status.controllers, key=lambda controller: controller.name)
    ]
    leader = status.leader or _paint("none", "red", color)
    return [
        ("Mesh", f"{status.mesh_id} (epoch {status.epoch}, generation {status.generation})"),
        ("Leader", leader + (f"   controllers: {', '.join(others)}" if others else "")),
        ("Nodes", _ratio(status.nodes_ready, status.nodes, "ready", color)),
        ("Services", _ratio(status.services_converged, status.services, "converged", color)),
        ("Tasks", _ratio(status.tasks_running, status.tasks_wanted, "running", color)),
        ("Brake", _paint("ENGAGED", "red", color) if status.brake.engaged else "off"),
    ]


def _ratio(part: int, whole: int, word: str, color: bool) -> str:
    return _paint(f"{part} of {whole} {word}", "green" if part >= whole else "yellow", color)


def _brake(status: Status, now: float) -> list[str]:
    brake = status.brake
    if not brake.engaged:
        return []
    silent = ", ".join(brake.silent[:5]) + (" ..." if len(brake.silent) > 5 else "")
    since = f" since {ago(brake.since, now)}" if brake.since else ""
    return [f"brake: replacements are held back{since}: {brake.why} ({silent}); meshctl brake release lets them go on"]


def _nodes(nodes: Iterable[NodeView], now: float) -> list[str]:
    listed = sorted(nodes, key=lambda node: node.node)
    bad = [
        f"node {node.node}: {WORDS.get(node.status, node.status).lower()}" for node in listed if node.status != "ready"
    ]
    whys = [why_text(node, now) for node in listed if node.status != "ready"]
    told = [f"{line}, {why}" if why else line for line, why in zip(bad, whys, strict=True)]
    return told + [
        f"node {n.node}: {n.availability}" for n in listed if n.status == "ready" and n.availability != "active"
    ]


def _services(services: Iterable[ServiceView]) -> list[str]:
    lines = []
    for view in sorted(services, key=lambda view: view.record.name):
        rollout = view.rollout
        if rollout is None or (rollout.phase == "done" and view.running + rollout.complete >= view.desired):
            continue
        why = "; ".join(reason_text(reason) for reason in rollout.reasons) or rollout.why
        lines.append(f"service {view.record.name}: {view.running}/{view.desired} running" + (f": {why}" if why else ""))
    return lines


def _reasons(status: Status, services: Iterable[ServiceView]) -> list[str]:
    """What the mesh says of itself; what it says of services stands with them."""
    told = tuple(f"{view.record.name}: " for view in services)
    return [reason_text(reason) for reason in status.reasons if not reason.text.startswith(told)]


def reason_text(reason: Reason) -> str:
    """A reason, with how many slots it holds for if that is more than one."""
    return f"{reason.text} ({reason.count}x)" if reason.count > 1 else reason.text


def _paint(text: str, colour: str, color: bool) -> str:
    return click.style(text, fg=colour) if color else text
