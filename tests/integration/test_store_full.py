"""The state stream's servers have no room left: nothing can be stored, and nothing ends by that."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from msgspec.structs import replace

from bus import nats_admin
from bus.commits import Committed, Put
from bus.nats import connect
from bus.nats_admin import create_mesh
from bus.port import Bus
from schemas.errors import Refused, TimedOut, Unreachable
from schemas.leases import CONFIRM_EVERY
from schemas.serviceapi import ServiceDeploy
from schemas.stackapi import DeployStack
from tests.conftest import NatsServer
from tests.integration.test_controller_on_nats import RealMesh, ask, shop
from tests.unit.controller_shell.pretend import spec

ROOM = 8 * 1024**2
"""Bytes that the server has for the streams, beside as many that the event log reserves."""

PIECE = b"x" * (ROOM // 16)


async def fill(bus: Bus) -> str:
    """Until nothing more is taken: what is said then. A small record needs little, so the pieces get smaller."""
    piece, number, why = PIECE, 0, ""
    while piece:
        number += 1
        try:
            assert isinstance(await bus.state.commit([Put(f"cursor.filler{number}", piece)]), Committed)
        except Refused as error:
            why, piece = error.message, piece[: len(piece) // 2]
    return why


async def insist(bus: Bus, wanted: DeployStack) -> None:
    """Deploy it, however long it takes everybody to be connected again."""
    async with asyncio.timeout(30):
        while True:
            try:
                await ask(bus, "stack.deploy", wanted)
                return
            except (Unreachable, TimedOut):
                await asyncio.sleep(0.1)


async def test_a_full_store_ends_no_controller_and_all_goes_on_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nats_admin, "EVENT_BYTES", ROOM)  # else a GiB has to be filled
    server = NatsServer(tmp_path / "nats")
    server.alter = lambda text: text.replace("sync_interval", f"max_file_store: {2 * ROOM}\n  sync_interval")
    await asyncio.to_thread(server.start)
    leased = spec("shop_db", "shop")
    leased = replace(leased, task=replace(leased.task, stop_after=20.0))
    web = ServiceDeploy(spec=spec("shop_web", "shop"), replicas=2)
    try:
        await create_mesh(server.credentials("operator"), "m1")
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            operator = await stack.enter_async_context(connect(server.credentials("operator"), timeout=10))
            mesh = RealMesh(server, tmp_path / "data", group)
            await mesh.start(2, 2)
            await ask(operator, "stack.deploy", shop(web, ServiceDeploy(spec=leased, replicas=1)))
            await mesh.until(lambda: len(mesh.running()) == 3)
            leader = mesh.leader()
            assert "insufficient resources" in await fill(operator)
            with pytest.raises(Refused, match="the store refuses a write"):
                await ask(operator, "stack.deploy", shop(replace(web, replicas=3), ServiceDeploy(spec=leased)))
            await mesh.kill("n2")
            await asyncio.sleep(2 * CONFIRM_EVERY)
            assert mesh.leader() is leader
            assert "nothing can be stored now" in leader.leader.alarms[-1].text
            assert mesh.running(), "what runs runs on"
            await asyncio.to_thread(server.stop)
            server.alter = str
            await asyncio.to_thread(server.start)
            await insist(operator, shop(replace(web, replicas=3), ServiceDeploy(spec=leased)))
            await mesh.until(lambda: len(mesh.running()) == 4, 30)
            mesh.stop()
    finally:
        await asyncio.to_thread(server.stop)
