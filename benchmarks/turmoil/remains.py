"""Doing: what is found on a lab's nodes: containers of the mesh, namespaces, network devices, processes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.turmoil.stack import STACK
from lab.engine_api import EngineApi
from lab.lab import Lab
from meshctl.client import Mesh
from schemas.errors import MeshError

ENGINE_TIMEOUT = 10.0
SHIM = "containerd-shim"
KEPT_PER_SLOT = 2
"""Ended containers of a slot that an agent keeps for their logs, for an hour."""


@dataclass(frozen=True)
class Found:
    """What was found on one node."""

    containers: tuple[str, ...]
    """Of the mesh, by name: those that run, and ended ones beyond what is kept for its logs."""
    namespaces: tuple[str, ...]
    """Network namespaces that the engine holds."""
    devices: tuple[str, ...]
    """Network devices besides those that every machine has."""
    processes: tuple[str, ...]
    """Of containers: their shims."""


def running(lab: Lab, node: str) -> dict[str, str]:
    """The stack's running containers on a node as its engine lists them: id -> service. Raises MeshError."""
    engine = EngineApi(lab.paths.docker_socket(node), timeout=ENGINE_TIMEOUT)
    return {each["Id"]: each["Labels"]["mesh.service"] for each in engine.containers(f"mesh.stack={STACK}")}


def look(lab: Lab, node: str) -> Found:
    """What is on a node now. Raises MeshError."""
    engine = EngineApi(lab.paths.docker_socket(node), timeout=ENGINE_TIMEOUT)
    containers = superfluous(engine.containers("mesh.task", every=True))
    links = [line.split()[0].partition("@")[0] for line in _lines(lab, node, "ip", "-br", "link")]
    processes = [line for line in _lines(lab, node, "ps", "-eo", "args") if SHIM in line]
    return Found(containers, namespaces(lab, node), tuple(sorted(links)), tuple(sorted(processes)))


def superfluous(listed: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Of an engine's list of the mesh's containers those that may not be there once no service is left, by name."""
    found: list[str] = []
    kept: Counter[str] = Counter()
    for each in listed:
        slot = f"{each['Labels']['mesh.service']}.{each['Labels']['mesh.slot']}"
        kept[slot] += each["State"] != "running"
        if each["State"] == "running" or kept[slot] > KEPT_PER_SLOT:
            found.append(each["Names"][0].lstrip("/"))
    return tuple(sorted(found))


def namespaces(lab: Lab, node: str) -> tuple[str, ...]:
    """The network namespaces that a node's engine holds, or has forgotten. Raises Unreachable."""
    return tuple(sorted(_lines(lab, node, "ls", "/run/docker/netns")))


def _lines(lab: Lab, node: str, *argv: str) -> list[str]:
    """What a command on the node says. Raises Unreachable."""
    return lab.exec(node, argv).stdout.splitlines()


def look_all(lab: Lab) -> dict[str, Found]:
    """All nodes. Raises MeshError."""
    return {node: look(lab, node) for node in lab.nodes}


def more(before: dict[str, Found], now: dict[str, Found]) -> dict[str, list[str]]:
    """What is there now and was not before: kind -> "node: name"."""
    kinds = ("containers", "namespaces", "devices", "processes")
    return {
        kind: [f"{node}: {each}" for node in now for each in getattr(now[node], kind)
               if each not in getattr(before[node], kind)]
        for kind in kinds
    }  # fmt: skip


def ended_by_themselves(lab: Lab) -> list[str]:
    """Programs that ought to run and do not, while nothing hurts them."""
    return [
        f"{machine.name}: {service}"
        for machine in lab.status()
        for service, runs in machine.services.items()
        if not runs
    ]


def what_is_wrong(lab: Lab, tasks: dict[str, str], wanted: dict[str, int]) -> list[str]:
    """How the running containers differ from what the mesh says (`tasks`: container -> service) and what is wanted."""
    found: dict[str, str] = {}
    for node in lab.nodes:
        try:
            found |= running(lab, node)
        except MeshError as error:
            return [f"{node}: {error.message}"]
    wrong = []
    for service, count in wanted.items():
        listed = {container for container, name in found.items() if name == service}
        told = {container for container, name in tasks.items() if name == service}
        if len(told) != count:
            wrong.append(f"{service}: {len(told)} run, says the mesh, of {count}")
        if listed - told:
            wrong.append(f"{service}: {len(listed - told)} containers run that the mesh does not count")
        if told - listed:
            wrong.append(f"{service}: {len(told - listed)} containers do not run that the mesh counts")
    return wrong


def remove_stack(lab: Lab) -> None:
    """Remove the stack. Raises MeshError."""

    async def remove() -> None:
        async with Mesh.connect(lab.credentials()) as mesh:
            await mesh.remove_stack(STACK)

    asyncio.run(remove())
