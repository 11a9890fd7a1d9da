"""What a lab says to its own mesh: create it, ask who leads, wait until it is ready. Blocking calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from bus.nats import connect
from bus.nats_admin import create_mesh

from bus.port import Bus, Credentials
from schemas import subjects
from schemas.clock import SystemClock
from schemas.errors import Conflict, MeshError, TimedOut, Unreachable
from schemas.liveness import LeaderBeat
from schemas.wire import decode

T = TypeVar("T")


def create(credentials: Credentials, mesh_id: str, replicas: int, patience: float = 30.0) -> None:
    """Create the mesh's streams as soon as the servers let it. Raises TimedOut."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return _blocking(create_mesh(credentials, mesh_id, replicas))
        except Conflict:
            return None  # an earlier try did it, though its answer was lost
        except MeshError as error:
            if time.monotonic() > deadline:
                raise TimedOut(f"the nats-servers took no streams for {patience:g} s: {error}") from error
            time.sleep(0.2)


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
