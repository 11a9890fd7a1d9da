"""A store that seems to be rolled back: for good, or told of by a server that leads the stream no more."""

from __future__ import annotations

import asyncio

import pytest

from bus.commits import Put
from bus.memory import MemoryBroker
from controller.mirror import DOUBT, Mirror
from schemas.errors import Unreachable
from schemas.observation import Observation
from schemas.wire import encode
from tests.sim.loop import run


async def mirrored(broker: MemoryBroker, *keys: str) -> Mirror:
    for key in keys:
        broker.state.commit("operator", (Put(key, b"{}"),), None)
    mirror = Mirror(broker.connect("controller-c1"))
    await mirror.state.resync("started")
    return mirror


def test_a_store_told_of_by_a_deposed_server_is_trusted_again_once_it_is_as_it_was_seen() -> None:
    async def story() -> None:
        broker = MemoryBroker()
        mirror = await mirrored(broker, "cursor.a", "cursor.b")
        whole = broker.checkpoint()
        short = broker.checkpoint()
        short.last -= 1
        del short.entries["cursor.b"]
        broker.roll_back(short)
        await mirror.state.resync("a look")
        assert mirror.trouble.startswith("store.rolled_back")
        broker.roll_back(whole)
        await mirror.state.resync("another look")
        assert mirror.trouble == ""

    run(story())


def test_a_store_that_was_rolled_back_and_grew_stays_refused() -> None:
    async def story() -> None:
        broker = MemoryBroker()
        mirror = await mirrored(broker, "cursor.a")
        older = broker.checkpoint()
        for key in ("cursor.b", "cursor.c"):
            broker.state.commit("operator", (Put(key, b"{}"),), None)
        await mirror.state.resync("level")
        broker.roll_back(older)
        await mirror.state.resync("a look")
        for key in ("cursor.x", "cursor.y", "cursor.z"):
            broker.state.commit("operator", (Put(key, b"{}"),), None)
        await mirror.state.resync("another look")
        assert mirror.trouble.startswith("store.rolled_back")

    run(story())


def test_a_store_that_grew_past_what_was_seen_before_anybody_looked_is_refused() -> None:
    """By its length alone it is no older one; what was seen in the lost part would stand beside what is new."""

    async def story() -> None:
        broker = MemoryBroker()
        mirror = await mirrored(broker, "cursor.a", "cursor.b")
        older = broker.checkpoint()
        broker.state.commit("operator", (Put("cursor.a", b"{}"),), None)
        await mirror.state.resync("level")
        seen = mirror.sequence
        broker.roll_back(older)
        for key in ("cursor.x", "cursor.y"):
            broker.state.commit("operator", (Put(key, b"{}"),), None)
        await mirror.state.resync("a look")
        assert mirror.trouble.startswith("store.rolled_back: the store does not know what this controller has seen")
        assert f"cursor.a at {seen}" in mirror.trouble
        assert mirror.sequence == seen, "nothing of it was taken over"
        assert mirror.lacks == ("cursor.a", seen), "others are told: who has not seen it may lead this store"

    run(story())


def test_after_a_while_there_is_no_doubt_any_more() -> None:
    async def story() -> None:
        broker = MemoryBroker()
        mirror = await mirrored(broker, "cursor.a", "cursor.b")
        whole, short = broker.checkpoint(), broker.checkpoint()
        short.last -= 1
        broker.roll_back(short)
        await mirror.state.resync("a look")
        await asyncio.sleep(DOUBT + 1)
        broker.roll_back(whole)
        await mirror.state.resync("another look")
        assert mirror.trouble.startswith("store.rolled_back")

    run(story())


def observe(broker: MemoryBroker, counter: int) -> None:
    observation = Observation(node="n1", instance="i", boot="b", counter=counter)
    broker.observed.commit("agent-n1", (Put("n1", encode(observation)),), None)


def test_what_nodes_have_told_is_not_taken_back_for_a_replica_that_is_behind() -> None:
    """A connection breaks, and the snapshot after it comes from such a one: what is up would seem not to be."""

    async def story() -> None:
        broker = MemoryBroker()
        mirror = await mirrored(broker)
        for counter in (1, 2, 3):
            observe(broker, counter)
        await mirror.observed.resync("started")
        broker.faults.snapshot_lag = 2
        with pytest.raises(Unreachable):
            await mirror.observed.resync("a new connection")
        assert mirror.observations["n1"].counter == 3
        observe(broker, 4)
        observe(broker, 5)
        observe(broker, 6)
        await mirror.observed.resync("another one")
        assert mirror.observations["n1"].counter == 4, "it shows more than was seen"

    run(story())


def test_observations_that_were_lost_with_their_stream_are_taken_as_they_are_now() -> None:
    async def story() -> None:
        broker = MemoryBroker()
        mirror = await mirrored(broker)
        observe(broker, 1)
        older = broker.observed.existing().copy()
        observe(broker, 2)
        await mirror.observed.resync("started")
        broker.observed.stream = older
        await mirror.observed.resync("a new connection")
        assert mirror.observations["n1"].counter == 1
        assert not mirror.trouble

    run(story())
