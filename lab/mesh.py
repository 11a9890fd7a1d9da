"""What a lab says to its own mesh while it comes up: create it, wait until it is ready. Blocking calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

from bus.nats_admin import create_mesh
from bus.users import Credentials
from lab.eye import Eye
from schemas.errors import TimedOut, Unreachable


def create(credentials: Credentials, mesh_id: str, replicas: int, patience: float = 30.0) -> None:
    """Create the mesh's streams as soon as the servers let it. Raises TimedOut, Conflict."""
    deadline = time.monotonic() + patience
    while True:
        try:
            # In a thread of its own: the caller may stand inside a running loop.
            with ThreadPoolExecutor(max_workers=1) as pool:
                pool.submit(lambda: asyncio.run(_create(credentials, mesh_id, replicas))).result()
        except Unreachable as error:
            if time.monotonic() > deadline:
                raise TimedOut(f"the nats-servers took no streams for {patience:g} s: {error}") from error
            time.sleep(0.2)
        else:
            return


async def _create(credentials: Credentials, mesh_id: str, replicas: int) -> None:
    await create_mesh(credentials, mesh_id, replicas)


def await_ready(credentials: Credentials, nodes: Collection[str], patience: float = 60.0) -> str:
    """Until somebody leads and calls every node ready; who leads. Raises TimedOut."""
    missing = set(nodes)

    def all_ready() -> bool:
        missing.difference_update(view.node for view in eye.nodes() if view.status == "ready")
        return not missing

    with Eye(credentials) as eye:
        try:
            eye.wait_until("all nodes are ready", all_ready, patience)
            return eye.leader().holder
        except (TimedOut, Unreachable):
            what = f"not ready: {', '.join(sorted(missing))}" if missing else "nobody leads"
            raise TimedOut(f"after {patience:g} s {what}", hint="meshctl lab logs MACHINE") from None
