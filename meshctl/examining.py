"""Asks the agents of all nodes what is wrong with their networks."""

from __future__ import annotations

import asyncio
from typing import cast

from meshctl.client import Mesh
from schemas.errors import MeshError, NotFound
from schemas.nodeapi import Diagnose, Diagnosis

PATIENCE = 60.0
"""Seconds that a node gets for all its attempts."""
AT_ONCE = 16
"""Nodes that are examined at the same time."""


async def examine_nodes(mesh: Mesh, chosen: tuple[str, ...]) -> tuple[list[Diagnosis], dict[str, str]]:
    """What each node has found (from `chosen`, or all, to all that are ready); and who did not answer: why.

    Raises NotFound: there is no such node.
    """
    views = (await mesh.nodes()).nodes
    ready = tuple(view.node for view in views if view.status == "ready")
    known = {view.node for view in views}
    for name in chosen:
        if name not in known:
            raise NotFound(f"there is no node {name}", hint="meshctl node ls shows them")
    wanted = sorted(set(chosen) or known)
    silent = {
        view.node: f"the node is {view.status}" for view in views if view.node in wanted and view.node not in ready
    }
    found: list[Diagnosis] = []
    slots = asyncio.Semaphore(AT_ONCE)

    async def examine(node: str) -> None:
        async with slots:
            try:
                answer = await mesh.ask_node(node, "doctor", Diagnose(peers=ready), timeout=PATIENCE)
            except MeshError as error:
                silent[node] = error.message
            else:
                found.append(cast("Diagnosis", answer))

    async with asyncio.TaskGroup() as group:
        for node in wanted:
            if node not in silent:
                group.create_task(examine(node))
    return found, silent
