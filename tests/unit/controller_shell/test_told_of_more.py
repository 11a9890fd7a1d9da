"""A controller was told how far the store goes, its mirror got nothing of that, and the store goes back."""

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
from controller.follower import COMPARE_EVERY
from controller.suspicion import SURE_AFTER, Suspicion
from schemas import subjects
from schemas.records import MeshRecord
from schemas.wire import encode
from tests.sim.loop import run
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
