"""Doing: what is found on a lab's nodes: containers of the mesh, namespaces, network devices, processes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from benchmarks.turmoil.stack import STACK
from lab.engine_api import EngineApi
from lab.lab import Lab
from meshctl.client import Mesh
from schemas.errors import MeshError, NotFound

ENGINE_TIMEOUT = 10.0
SHIM = "containerd-shim"
FREED_WITHIN = 70.0
"""Seconds in which an engine takes an ended container's namespace away: it looks once a minute (Docker 20.10)."""

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


def running(engine: EngineApi, *labels: str) -> list[dict[str, Any]]:
    """Containers that run. Raises MeshError.

    While its disk is full, an engine can't note what its list shows: one that has ended stays "running" there, one that
    has begun "created" (Docker 20.10.24). Looked at by itself each is as it is.
    """
    found = []
    for each in engine.containers(*labels, every=True):
        with contextlib.suppress(NotFound):
            if each["State"] != "exited" and engine.inspect(each["Id"])["State"]["Running"]:
                found.append(each)
    return found


def look(lab: Lab, node: str) -> Found:
    """What is on a node now. Raises MeshError."""
    engine = EngineApi(lab.paths.docker_socket(node), timeout=ENGINE_TIMEOUT)
    up = {each["Id"] for each in running(engine, "mesh.task")}
    listed = engine.containers("mesh.task", every=True)
    containers = superfluous([{**each, "State": "running" if each["Id"] in up else "ended"} for each in listed])
    links = [line.split()[0].partition("@")[0] for line in _lines(lab, node, "ip", "-br", "link")]
    return Found(containers, namespaces(lab, node), tuple(sorted(links)), shims(lab, node))


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


def forgotten(
    inspected: Sequence[Mapping[str, Any]], standing: Collection[str], destroyed: int, now: float
) -> set[str]:
    """Of the namespaces that stand those which an engine that is killed now leaves for good. Pure.

    It takes a namespace away within a minute after its container has ended, by a list that dies with it. So: those of
    its containers that run or ended just now, and as many others as it removed containers just now.
    """
    known: dict[str, bool] = {}
    for each in inspected:
        state, key = each["State"], Path(each["NetworkSettings"]["SandboxKey"]).name
        known[key] = state["Running"] or now - _seconds(state["FinishedAt"]) < FREED_WITHIN
    own = {name for name in standing if known.get(name)}
    return own | set(sorted(name for name in standing if name not in known)[:destroyed])


def _seconds(stamp: str) -> float:
    """Since 1970, of an engine's time stamp (UTC)."""
    return datetime.fromisoformat(f"{stamp[:19]}+00:00").timestamp()


def about_to_be_forgotten(lab: Lab, node: str) -> set[str]:
    """What its engine would leave if it were killed now. Raises MeshError."""
    engine, now = EngineApi(lab.paths.docker_socket(node), timeout=ENGINE_TIMEOUT), time.time()
    inspected = []
    for each in engine.containers(every=True):
        with contextlib.suppress(NotFound):
            inspected.append(engine.inspect(each["Id"]))
    return forgotten(inspected, namespaces(lab, node), _removed(engine, now), now)


def _removed(engine: EngineApi, now: float) -> int:
    """How many containers it has removed just now."""
    wanted = {"type": ["container"], "event": ["destroy"]}
    query = urlencode({"since": int(now - FREED_WITHIN), "until": int(now) + 1, "filters": json.dumps(wanted)})
    return len(engine._ask("GET", f"/events?{query}").splitlines())


def shims(lab: Lab, node: str) -> tuple[str, ...]:
    """The processes on a node that hold its containers. Raises Unreachable."""
    return tuple(sorted(line for line in _lines(lab, node, "ps", "-eo", "args") if SHIM in line))


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
            engine = EngineApi(lab.paths.docker_socket(node), timeout=ENGINE_TIMEOUT)
            up = running(engine, f"mesh.stack={STACK}")
        except MeshError as error:
            return [f"{node}: {error.message}"]
        found |= {each["Id"]: each["Labels"]["mesh.service"] for each in up}
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
