"""A leader that is deposed over and over, in the middle of its rounds, follows and can lead again."""

from __future__ import annotations

import asyncio
import secrets

import pytest

from bus.commits import Put
from bus.port import Bus
from schemas import subjects
from schemas.errors import MeshError
from schemas.records import EpochRecord
from schemas.serviceapi import ScaleServices, ServiceDeploy
from schemas.wire import encode
from tests.integration.test_controller_on_nats import RealMesh, ask, real_mesh, shop
from tests.unit.controller_shell.pretend import spec

__all__ = ["real_mesh"]

DEPOSALS = 15


async def _depose(operator: Bus) -> None:
    """Somebody takes over who then says nothing."""
    entry = await operator.state.read(subjects.EPOCH)
    assert entry is not None
    record = EpochRecord(mesh_id="m1", holder="nobody", nonce=secrets.token_hex(8))
    await operator.state.commit((Put(subjects.EPOCH, encode(record), expected=entry.sequence),))


async def _keep_busy(operator: Bus) -> None:
    """Rounds with something to commit, all the time."""
    count = 0
    while True:
        count = count % 8 + 1
        try:
            await ask(operator, "service.scale", ScaleServices(replicas={"shop_web": count}))
        except MeshError:
            await asyncio.sleep(0.05)


@pytest.mark.timeout(180)
async def test_a_leader_deposed_in_mid_round_leads_again_later(real_mesh: tuple[RealMesh, Bus]) -> None:
    mesh, operator = real_mesh
    await ask(operator, "stack.deploy", shop(ServiceDeploy(spec=spec("shop_web", "shop"), replicas=3)))
    led = set()
    async with asyncio.TaskGroup() as group:
        busy = group.create_task(_keep_busy(operator))
        for _ in range(DEPOSALS):
            await mesh.until(mesh.led)
            led.add(mesh.leader().config.name)
            await asyncio.sleep(0.1)
            before = mesh.leader().elector.election.epoch
            await _depose(operator)
            await mesh.until(lambda before=before: mesh.led() and mesh.leader().elector.election.epoch > before)
        busy.cancel()
    assert led <= set(mesh.controllers)
    assert mesh.led()
