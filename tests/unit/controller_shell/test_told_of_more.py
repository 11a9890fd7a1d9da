"""A store that goes back while this controller was told how far it went, and its mirror had got nothing of that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from bus.commits import Committed, Put
from bus.memory import MemoryBroker
from bus.memory_stream import MemoryStream
from bus.port import StoreInfo
from controller.controller import Controller
from controller.follower import COMPARE_EVERY
from controller.suspicion import SURE_AFTER, Suspicion
from schemas import subjects
from schemas.errors import Refused
from schemas.records import MeshRecord, ServiceRecord
from schemas.serviceapi import ScaleServices, ServiceDeploy
from schemas.wire import encode
from tests.sim.loop import run
from tests.unit.controller_shell.pretend import Mesh, mesh_of, ready, spec
from tests.unit.controller_shell.test_suspicion import STORE, beat, gone_back, put, suspicious

NOTICED = COMPARE_EVERY + SURE_AFTER + 3.0
"""Seconds within which it is told, with some to spare."""


@dataclass
class Told:
    """A store that has just gone back by one write."""

    suspicion: Suspicion
    broker: MemoryBroker
    later: MemoryStream
    end: int
    """The sequence of what is lost."""


@asynccontextmanager
async def told_of_more() -> AsyncIterator[Told]:
    broker, before, later, end = gone_back()
    async with suspicious(broker) as suspicion:
        comparing = asyncio.create_task(suspicion._mirror.state.compare())
        broker.roll_back(later)
        await asyncio.sleep(COMPARE_EVERY + 0.5)
        broker.roll_back(before)
        assert suspicion._mirror.sequence == end - 1
        yield Told(suspicion, broker, later, end)
        comparing.cancel()


def test_it_is_doubtful_and_then_certain() -> None:
    async def story() -> None:
        async with told_of_more() as told:
            await asyncio.sleep(SURE_AFTER)
            assert told.suspicion.doubtful_since is not None
            assert told.suspicion.rolled_back == ""
            assert told.suspicion._mirror.state.extent.went_back
            await asyncio.sleep(NOTICED - SURE_AFTER)
            says = f"this controller was told of {told.end}, the store ends at {told.end - 1}"
            assert told.suspicion.rolled_back == f"store.rolled_back: {says}"

    run(story())


def test_a_server_that_had_stalled_may_tell_of_the_store_as_it_was() -> None:
    async def story() -> None:
        async with told_of_more() as told:
            await asyncio.sleep(SURE_AFTER)
            told.broker.roll_back(told.later)
            await asyncio.sleep(COMPARE_EVERY + 1)
            assert told.suspicion.doubtful_since is None
            await asyncio.sleep(NOTICED)
            assert told.suspicion.rolled_back == ""

    run(story())


@pytest.mark.parametrize("offset", [0.0, 0.4, 0.8, 1.05])
def test_what_a_write_has_proved_stands_until_the_store_is_made_anew(offset: float) -> None:
    """However long it grows, and whatever was being asked just then."""

    async def story() -> None:
        async with told_of_more() as told:
            suspicion, broker = told.suspicion, told.broker
            broker.faults.delay = (0.1, 0.1)
            await asyncio.sleep(offset)
            suspicion.prove("a write was stored at 4")
            for _ in range(5):
                put(broker, "cursor.d")
            await asyncio.sleep(30)
            assert suspicion.rolled_back == "store.rolled_back: a write was stored at 4"
            fresh = MemoryStream(last=1000, first=1001, created="anew")
            fresh.commit((Put(subjects.MESH, encode(replace(STORE, generation=3))),), None, 0.0)
            broker.roll_back(fresh)
            await asyncio.sleep(NOTICED)
            suspicion.hear_controller(beat(1001, generation=3))
            await asyncio.sleep(1)
            assert suspicion.rolled_back == ""
            assert not suspicion.proven

    run(story())


def foreign_store() -> tuple[MemoryStream, MemoryStream]:
    """Another mesh's, as it was and as it is."""
    foreign = MemoryStream(last=5000, first=1, created="another")
    foreign.commit((Put(subjects.MESH, encode(MeshRecord(mesh_id="m9", generation=1))),), None, 0.0)
    older = foreign.copy()
    foreign.commit((Put("cursor.z", b"{}"),), None, 0.0)
    return older, foreign


async def stands_again(told: Told) -> None:
    """The own store is back, and others are a little ahead with it."""
    for _ in range(20):
        put(told.broker, "cursor.b")
        told.suspicion.hear_controller(beat(told.suspicion._mirror.sequence + 1))
        await asyncio.sleep(1)
    assert told.suspicion._mirror.trouble == ""
    assert told.suspicion.rolled_back == ""
    assert told.suspicion.doubtful_since is None


def test_what_another_meshs_store_told_is_not_held_against_the_own() -> None:
    async def story() -> None:
        older, foreign = foreign_store()
        async with told_of_more() as told:
            told.broker.roll_back(foreign)
            await asyncio.sleep(COMPARE_EVERY + 2)
            assert told.suspicion._mirror.trouble.startswith("store.foreign")
            told.broker.roll_back(older)
            await asyncio.sleep(COMPARE_EVERY)
            told.broker.roll_back(told.later)
            await asyncio.sleep(COMPARE_EVERY)
            await stands_again(told)

    run(story())


def test_answers_may_come_in_another_order() -> None:
    async def story() -> None:
        async with told_of_more() as told:
            told.broker.roll_back(told.later)
            state = told.suspicion._mirror.state
            ask, takes = state._store.info, iter([0.3, 0.0])

            async def info() -> StoreInfo:
                answer = await ask()
                await asyncio.sleep(next(takes, 0.0))
                return answer

            state._store.info = info  # type: ignore[method-assign]
            first = asyncio.create_task(state.ask())
            await asyncio.sleep(0.1)
            put(told.broker, "cursor.q")
            await state.ask()
            await first
            assert not state.extent.went_back
            await stands_again(told)

    run(story())


@asynccontextmanager
async def deaf(mesh: Mesh, leader: Controller) -> AsyncIterator[None]:
    """It gets nothing of what is stored, but is told how far the store goes; then it gets that again."""
    lost = mesh.broker.lose(mesh.broker.state.republished + ">", receiver=f"controller-{leader.config.name}")
    shown = leader.mirror.sequence
    yield
    await leader.mirror.state.ask()
    assert leader.mirror.state.extent.furthest == mesh.broker.state.existing().last
    assert leader.mirror.sequence == shown
    mesh.broker.faults.remove(lost)


@pytest.mark.parametrize("more", [0, 1, 10])
@pytest.mark.parametrize("offset", [0.0, 0.5, 1.0, 1.5])
def test_a_leader_carries_nothing_out_that_stands_in_the_older_store_only(more: int, offset: float) -> None:
    """It is scaled down there, which was taken back in what is lost, with `more` writes."""

    async def scenario() -> None:
        async with mesh_of(controllers=1, agents=2) as mesh:
            await ready(mesh)
            await mesh.deploy(ServiceDeploy(spec=spec("shop_web", "shop"), replicas=2))
            await mesh.until(lambda: len(mesh.running("shop_web")) == 2)
            leader = await mesh.led()
            await asyncio.sleep(10 + offset)
            record = leader.mirror.records.services["shop_web"].record
            async with deaf(mesh, leader):
                write(mesh, replace(record, replicas=1))
                older = mesh.broker.checkpoint()
                write(mesh, record)
                for number in range(more):
                    put(mesh.broker, f"cursor.{number}")
            mesh.broker.roll_back(older)
            await mesh.until(lambda: leader.leader.frozen.startswith("store.rolled_back"))
            assert leader.mirror.records.services["shop_web"].record.replicas == 1
            await asyncio.sleep(20)
            assert mesh.running("shop_web") == ["1", "2"]
            assert leader.leader.frozen.startswith("store.rolled_back")

    run(scenario())


def write(mesh: Mesh, record: ServiceRecord) -> None:
    mesh.broker.state.commit("operator", (Put(subjects.service_key(record.name), encode(record)),), None)


def test_what_was_stored_a_moment_ago_proves_nothing_once_the_store_is_said_to_be_shorter() -> None:
    async def scenario() -> None:
        async with mesh_of(controllers=1, agents=1) as mesh:
            await ready(mesh)
            leader = await mesh.led()
            proof, state = leader.leader._proof, leader.mirror.state
            proof.shown(leader.desk.clock.monotonic())
            assert await proof.holds()
            older = mesh.broker.checkpoint()
            async with deaf(mesh, leader):
                put(mesh.broker, "cursor.b")
            mesh.broker.roll_back(older)
            await state.ask()
            proof.shown(leader.desk.clock.monotonic())
            assert not await proof.holds()

    run(scenario())


@pytest.mark.parametrize("phase", [0.0, 0.5, 1.0, 1.5])
def test_who_was_told_of_more_does_not_take_over(phase: float) -> None:
    """Its own epoch would be stored where others had been, and the store be as long again."""

    async def scenario() -> None:
        async with mesh_of(controllers=2, agents=2) as mesh:
            await ready(mesh)
            await mesh.deploy(ServiceDeploy(spec=spec("shop_web", "shop"), replicas=2))
            await mesh.until(lambda: len(mesh.running("shop_web")) == 2)
            leader = await mesh.led()
            other = next(each for each in mesh.controllers.values() if each is not leader)
            await asyncio.sleep(10 + phase)
            record = leader.mirror.records.services["shop_web"].record
            async with deaf(mesh, leader), deaf(mesh, other):
                write(mesh, replace(record, replicas=1))
                older = mesh.broker.checkpoint()
                write(mesh, record)
            mesh.broker.roll_back(older)
            await mesh.kill(leader.config.name)
            await asyncio.sleep(30)
            assert not other.leads
            assert other.elector.trouble.startswith("store.rolled_back")
            assert mesh.running("shop_web") == ["1", "2"]

    run(scenario())


@pytest.mark.parametrize("grown", [0, 3])
def test_a_leader_whose_own_writes_were_lost_finds_that_by_the_next_one(grown: int) -> None:
    """Its mirror has got none of them, and others have written since."""

    async def scenario() -> None:
        async with mesh_of(controllers=1, agents=2) as mesh:
            await ready(mesh)
            await mesh.deploy(ServiceDeploy(spec=spec("shop_web", "shop"), replicas=2))
            await mesh.until(lambda: len(mesh.running("shop_web")) == 2)
            leader = (await mesh.led()).leader
            await asyncio.sleep(10)
            older = mesh.broker.checkpoint()
            mesh.broker.lose(mesh.broker.state.republished + ">", receiver="controller-c1")
            mesh.broker.faults.snapshot_lag = 10
            for _ in range(5):
                assert isinstance(await leader._proof.submit([leader._seat.cursor_write()]), Committed)
            mesh.broker.roll_back(older)
            for _ in range(grown):
                put(mesh.broker, "cursor.b")
            await leader._proof.submit([leader._seat.cursor_write()])
            assert leader.frozen.startswith("store.rolled_back: a write was stored at")
            mesh.broker.faults.clear()
            for _ in range(10):
                put(mesh.broker, "cursor.b")
            await asyncio.sleep(30)
            assert leader.frozen.startswith("store.rolled_back: a write was stored at")

    run(scenario())


@pytest.mark.parametrize("offset", [0.0, 0.7, 1.4, 2.1, 2.8])
def test_nothing_fills_the_place_of_what_was_lost_while_the_store_is_shorter_than_was_told(offset: float) -> None:
    """Neither leases, nor an order for another service; what stands in the older store is not carried out."""

    async def scenario() -> None:
        async with mesh_of(controllers=1, agents=2) as mesh:
            await ready(mesh)
            leased = spec("shop_db", "shop")
            leased = replace(leased, task=replace(leased.task, stop_after=20.0))
            web = ServiceDeploy(spec=spec("shop_web", "shop"), replicas=2)
            await mesh.deploy(web, ServiceDeploy(spec=leased, replicas=1))
            await mesh.until(lambda: len(mesh.running("shop_web")) == 2)
            leader = await mesh.led()
            await asyncio.sleep(10 + offset)
            record = leader.mirror.records.services["shop_web"].record
            async with deaf(mesh, leader):
                write(mesh, replace(record, replicas=1))
                older = mesh.broker.checkpoint()
                write(mesh, record)
            mesh.broker.roll_back(older)
            await leader.mirror.state.ask()
            assert leader.mirror.state.extent.went_back
            with pytest.raises(Refused, match="this controller was told of"):
                await mesh.ask("service.scale", ScaleServices(replicas={"shop_db": 2}))
            await mesh.until(lambda: leader.leader.frozen.startswith("store.rolled_back"))
            await asyncio.sleep(20)
            assert mesh.running("shop_web") == ["1", "2"]

    run(scenario())


def test_why_a_controller_did_not_stand_is_not_said_of_a_store_that_was_made_anew() -> None:
    """A recovery waits for all to be well with it."""

    async def scenario() -> None:
        async with mesh_of(controllers=2, agents=1) as mesh:
            await ready(mesh)
            leader = await mesh.led()
            other = next(each for each in mesh.controllers.values() if each is not leader)
            other.elector.trouble = "store.rolled_back: it is older"
            await asyncio.sleep(5)
            assert other.elector.trouble
            mesh.broker.state.commit(
                "operator", [Put(subjects.MESH, encode(MeshRecord(mesh_id="m1", generation=2)))], None
            )
            await asyncio.sleep(1)
            assert other.elector.trouble == ""

    run(scenario())
