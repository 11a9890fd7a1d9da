"""A store that goes back while this controller was told how far it went, and its mirror had got nothing of that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from bus.commits import Put
from bus.memory import MemoryBroker
from bus.memory_stream import MemoryStream
from bus.port import StoreInfo
from controller.controller import Controller
from controller.follower import COMPARE_EVERY
from controller.suspicion import SURE_AFTER, Suspicion
from schemas import subjects
from schemas.records import MeshRecord, ServiceRecord
from schemas.serviceapi import ServiceDeploy
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
            assert told.suspicion.bars
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
            assert told.suspicion.bars == ""
            await asyncio.sleep(NOTICED)
            assert told.suspicion.rolled_back == ""

    run(story())


@pytest.mark.parametrize("after", [0.1, 3.0, 20.0])
def test_an_own_write_that_is_stored_where_others_had_been_proves_it_for_good(after: float) -> None:
    """However long the store grows by that, until it is made anew."""

    async def story() -> None:
        async with told_of_more() as told:
            suspicion, broker = told.suspicion, told.broker
            await asyncio.sleep(after)
            known = suspicion.known()
            suspicion.stored(broker.state.commit("controller-c1", [Put("cursor.c", b"{}")], None), known)
            says = f"a write was stored at {told.end}, this controller knew of {told.end} before"
            assert suspicion.rolled_back.endswith(says) or after == 20.0
            for _ in range(5):
                put(broker, "cursor.d")
            await asyncio.sleep(30)
            assert suspicion.rolled_back.startswith("store.rolled_back: ")
            await made_anew(suspicion, broker)
            assert suspicion.rolled_back == ""
            assert suspicion.doubtful_since is None

    run(story())


async def made_anew(suspicion: Suspicion, broker: MemoryBroker) -> None:
    fresh = MemoryStream(last=1000, first=1001, created="anew")
    fresh.commit((Put(subjects.MESH, encode(replace(STORE, generation=3))),), None, 0.0)
    broker.roll_back(fresh)
    await asyncio.sleep(2 * COMPARE_EVERY + 1)
    assert suspicion._mirror.records.mesh is not None
    assert suspicion._mirror.records.mesh.generation == 3


def test_a_write_that_was_sent_before_it_was_told_of_more_proves_nothing() -> None:
    async def story() -> None:
        async with told_of_more() as told:
            told.broker.roll_back(told.later)
            known = told.suspicion.known()
            outcome = told.broker.state.commit("controller-c1", [Put("cursor.c", b"{}")], None)
            put(told.broker, "cursor.d")
            await asyncio.sleep(COMPARE_EVERY)
            told.suspicion.stored(outcome, known)
            assert told.suspicion.rolled_back == ""

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
    assert told.suspicion.bars == ""


def test_what_another_meshs_store_told_is_not_held_against_the_own() -> None:
    async def story() -> None:
        older, foreign = foreign_store()
        async with told_of_more() as told:
            told.broker.roll_back(foreign)
            await asyncio.sleep(COMPARE_EVERY + 2)
            assert told.suspicion._mirror.trouble.startswith("store.foreign")
            assert told.suspicion.known().told == 0
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
    end = mesh.broker.state.existing().last
    await mesh.until(lambda: leader.mirror.state.extent.furthest == end)
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


@pytest.mark.parametrize("offset", [0.0, 0.7, 1.4, 2.1])
def test_a_mesh_at_rest_does_not_outgrow_what_was_lost_by_its_leases(offset: float) -> None:
    async def scenario() -> None:
        async with mesh_of(controllers=2, agents=2) as mesh:
            await ready(mesh)
            leased = spec("shop_web", "shop")
            leased = replace(leased, task=replace(leased.task, stop_after=20.0))
            await mesh.deploy(ServiceDeploy(spec=leased, replicas=2))
            await mesh.until(lambda: len(mesh.running("shop_web")) == 2)
            leader = await mesh.led()
            await asyncio.sleep(10 + offset)
            before = mesh.broker.checkpoint()
            async with deaf(mesh, leader):
                put(mesh.broker, "cursor.b")
            mesh.broker.roll_back(before)
            await mesh.until(lambda: leader.leader.frozen.startswith("store.rolled_back"))
            await asyncio.sleep(20)
            assert leader.leader.frozen.startswith("store.rolled_back")

    run(scenario())
