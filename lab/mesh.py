"""What a lab says to its own mesh: create it, ask who leads, wait until it is ready. Blocking calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from bus.nats import connect
from bus.nats_admin import create_mesh
from bus.port import Bus, Credentials
from schemas import subjects
from schemas.api import ListNodes, NodeList, open_reply
from schemas.clock import SystemClock
from schemas.errors import TimedOut, Unreachable
from schemas.liveness import LeaderBeat
from schemas.wire import decode, encode

T = TypeVar("T")


def create(credentials: Credentials, mesh_id: str, replicas: int, patience: float = 30.0) -> None:
    """Create the mesh's streams as soon as the servers let it. Raises TimedOut."""
    deadline = time.monotonic() + patience
    while True:
        try:
            _blocking(create_mesh(credentials, mesh_id, replicas))
        except Unreachable as error:
            if time.monotonic() > deadline:
                raise TimedOut(f"the nats-servers took no streams for {patience:g} s: {error}") from error
            time.sleep(0.2)
        else:
            return


def await_ready(credentials: Credentials, nodes: Collection[str], patience: float = 60.0) -> None:
    """Until somebody leads and hears every node. Raises TimedOut."""
    _blocking(_await_ready(credentials, frozenset(nodes), patience))


async def _await_ready(credentials: Credentials, nodes: frozenset[str], patience: float) -> None:
    missing = set(nodes)
    try:
        async with asyncio.timeout(patience), connect(credentials, clock=SystemClock()) as bus:
            await _next_beat(bus)
            while missing:
                missing = set(nodes) - await _ready_nodes(bus)
                await asyncio.sleep(0.1)
    except TimeoutError:
        what = f"not ready: {', '.join(sorted(missing))}" if missing else "nobody leads"
        raise TimedOut(f"after {patience:g} s {what}", hint="meshctl lab logs MACHINE") from None


async def _ready_nodes(bus: Bus) -> set[str]:
    try:
        answer = await bus.core.request(subjects.api("node", "list"), encode(ListNodes()), timeout=2.0)
        nodes = open_reply(answer, NodeList).nodes
    except Unreachable:
        return set()
    return {view.node for view in nodes if view.status == "ready"}


def leader(credentials: Credentials, patience: float = 10.0) -> LeaderBeat:
    """Who leads now. Raises Unreachable."""
    return _blocking(_leader(credentials, patience))


async def _leader(credentials: Credentials, patience: float) -> LeaderBeat:
    try:
        async with asyncio.timeout(patience), connect(credentials, clock=SystemClock()) as bus:
            return await _next_beat(bus)
    except TimeoutError:
        raise Unreachable(f"nobody has led for {patience:g} s") from None


async def _next_beat(bus: Bus) -> LeaderBeat:
    async with bus.core.subscribe(subjects.LEADER) as beats:
        while True:
            beat = decode((await beats.next()).data, LeaderBeat)
            if not beat.stepping_down:
                return beat


def _blocking(work: Coroutine[Any, Any, T]) -> T:
    """Run it in a thread of its own, so that callers may be inside a running loop or not."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(asyncio.run, work).result()
