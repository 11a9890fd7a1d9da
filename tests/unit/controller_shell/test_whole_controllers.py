"""Real controllers with pretend agents on the bus in memory, in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from bus.port import Fence, Fenced, Put
from schemas import subjects
from schemas.api import (
    Ask,
    GetStatus,
    GiveOrder,
    InspectService,
    ListNodes,
    ListServices,
    RemoveStack,
    ScaleServices,
    ServiceDeploy,
    Status,
    reply_with,
)
from schemas.errors import BadMessage, Conflict, MeshError, NotFound, Refused, StoreMissing, TimedOut
from schemas.wire import encode
from tests.sim.loop import run
from tests.unit.controller_shell.pretend import mesh_of, ready, spec


def test_a_stack_is_deployed_scaled_and_removed_without_a_trace() -> None:
    async def scenario() -> None:
        async with mesh_of(controllers=2, agents=3) as mesh:
            await ready(mesh)
            answer = await mesh.deploy(ServiceDeploy(spec=spec("shop_web", "shop"), replicas=4))
            assert [each.change for each in answer.services] == ["created"]
            await mesh.until(lambda: mesh.running("shop_web") == ["1", "2", "3", "4"])
            await mesh.ask("service.scale", ScaleServices(replicas={"shop_web": 2}))
            await mesh.until(lambda: mesh.running("shop_web") == ["1", "2"])
            await mesh.ask("stack.remove", RemoveStack(stack="shop"))
            await mesh.until(lambda: mesh.running("shop_web") == [])
            leader = await mesh.led()
            await mesh.until(lambda: not leader.mirror.records.services and not leader.mirror.records.stacks)
            assert not leader.mirror.records.revisions
            kinds = [event.split('"kind":"')[1].split('"')[0] for event in mesh.events()]
            for kind in ("service.created", "service.scaled", "service.removed", "service.gone", "stack.deployed"):
                assert kind in kinds, kinds
            assert kinds.count("task.assigned") == 4

    run(scenario())
