"""What ends no controller: bytes that nobody can read, records that nobody expects, answers that can't be given."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bus.commits import Committed, Put
from bus.memory import LoopClock, MemoryBroker
from bus.users import controller_user
from controller.config import Config
from controller.controller import Controller
from controller.highest import FILE, FileMemory
from controller.plan import plan
from schemas import subjects
from schemas.errors import BadMessage, MeshError, NotFound, Refused
from schemas.replies import LONGEST
from schemas.serviceapi import InspectService, ServiceDeploy
from schemas.stacks import StackGoodRecord
from schemas.statusapi import GetStatus
from schemas.wire import decode, encode
from tests.sim.loop import run
from tests.unit.controller_shell.pretend import Mesh, mesh_of, ready, spec

DEEP = b'{"x":' + b"[" * 3000 + b"]" * 3000 + b"}"
"""A parser that calls itself for each bracket gives up."""


async def beat(mesh: Mesh) -> None:
    await mesh.agents["n1"].bus.core.publish(subjects.heartbeat("n1"), DEEP)


async def request(mesh: Mesh) -> None:
    await mesh.operator.core.publish(subjects.api("service", "inspect"), DEEP)


async def observation(mesh: Mesh) -> None:
    assert isinstance(await mesh.agents["n1"].bus.observed.commit([Put("n1", DEEP)]), Committed)


async def record(mesh: Mesh) -> None:
    assert isinstance(await mesh.operator.state.commit([Put("stack.deep", DEEP)]), Committed)


async def nothing_good(mesh: Mesh) -> None:
    value = encode(StackGoodRecord(stack="empty"))
    assert isinstance(await mesh.operator.state.commit([Put("stackgood.empty", value)]), Committed)


@pytest.mark.parametrize("act", [beat, request, observation, record, nothing_good], ids=lambda act: act.__name__)
def test_no_controller_ends_by_it_nor_does_one_that_starts_anew(act: Callable[[Mesh], Awaitable[None]]) -> None:
    async def scenario() -> None:
        async with mesh_of(controllers=2, agents=2) as mesh:
            await ready(mesh)
            await act(mesh)
            await asyncio.sleep(5)
            await mesh.kill("c1")
            mesh.start_controller("c1")
            await asyncio.sleep(5)
            await mesh.deploy(ServiceDeploy(spec=spec("shop_web", "shop"), replicas=1))
            await mesh.until(lambda: mesh.running("shop_web") == ["1"])
            for name in ("c1", "c2"):
                assert mesh.controllers[name].mirror.state.ready.is_set()

    run(scenario())


def test_bytes_that_are_nested_too_deep_are_no_message() -> None:
    with pytest.raises(BadMessage, match="not a GetStatus"):
        decode(DEEP, GetStatus)


@pytest.mark.parametrize("error", [Refused("it refuses (JetStream 10052)"), BadMessage("no such answer")])
def test_a_snapshot_that_can_not_be_had_for_another_reason_is_tried_again(
    error: MeshError, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with mesh_of(controllers=2, agents=1) as mesh:
            await ready(mesh)

            async def refuse(_: object) -> object:
                raise error

            with monkeypatch.context() as patch:
                patch.setattr("bus.memory_store.MemoryStore.snapshot", refuse)
                mesh.broker.state.gap_all("a message was lost")
                await asyncio.sleep(5)
            await mesh.deploy(ServiceDeploy(spec=spec("shop_web", "shop"), replicas=1))
            await mesh.until(lambda: mesh.running("shop_web") == ["1"])

    run(scenario())


def test_the_text_of_an_error_is_cut() -> None:
    """It quotes what was asked for; an answer over the bus's limit could not be sent."""

    async def scenario() -> None:
        async with mesh_of(controllers=1, agents=1) as mesh:
            await ready(mesh)
            with pytest.raises(NotFound) as said:
                await mesh.ask("service.inspect", InspectService(service="\x7f" * 1_000_000))
            assert len(said.value.message) == LONGEST + 3

    run(scenario())


async def test_what_was_remembered_and_is_no_such_thing_is_told_as_that(tmp_path: Path) -> None:
    """Not as a group of failures with their tracebacks: who starts the controller is told what to do."""
    (tmp_path / FILE).write_bytes(b"")
    bus = MemoryBroker(random.Random(1), mesh_id="m1").connect(controller_user("c1"))
    controller = Controller(
        Config("c1"),
        bus,
        clock=LoopClock(),
        rng=random.Random(1),
        memory=FileMemory(tmp_path),
        plan=plan,
    )
    with pytest.raises(BadMessage) as said:
        await controller.run()
    assert said.value.hint == "remove the file if its mesh is gone"
