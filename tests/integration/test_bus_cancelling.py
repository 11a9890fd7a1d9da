"""Whatever waits for the bus ends when it is cancelled, once and at any moment."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
from nats.aio.client import Client

from bus.commits import Put
from bus.nats import NatsBus, connect
from bus.nats_admin import create_mesh
from bus.nats_calls import barrier, kept, publish, subscribe, unsubscribe
from bus.port import Bus, From
from schemas.errors import Unreachable

ENDS_WITHIN = 2.0
CANCELLATIONS = 150
"""Of each kind of work; most of them while it waits for the library."""


@dataclass(frozen=True)
class Work:
    """Something that goes on for ever, and the seconds that one turn of it takes about."""

    turn: Callable[[Bus], Awaitable[object]]
    takes: float


async def publishing(bus: Bus) -> None:
    await bus.core.publish("mesh.leader", b"x" * 2000)


async def asking(bus: Bus) -> None:
    await bus.state.info()


async def committing(bus: Bus) -> None:
    await bus.state.commit([Put("job.a", b"1"), Put("job.b", b"2"), Put("job.c", b"3")])


async def listening(bus: Bus) -> None:
    async with bus.core.subscribe("mesh.leader"):
        pass


async def watching(bus: Bus) -> None:
    async with bus.state.watch():
        pass


async def snapshooting(bus: Bus) -> None:
    await bus.state.snapshot()


async def reading(bus: Bus) -> None:
    async with bus.events.read(From(after=0)):
        pass


WORKS = [
    pytest.param(Work(publishing, 0.0002), id="publishing"),
    pytest.param(Work(asking, 0.0007), id="asking"),
    pytest.param(Work(committing, 0.002), id="committing"),
    pytest.param(Work(listening, 0.001), id="listening"),
    pytest.param(Work(watching, 0.002), id="watching"),
    pytest.param(Work(snapshooting, 0.003), id="taking snapshots"),
    pytest.param(Work(reading, 0.002), id="reading events"),
]


async def ends_when_cancelled(work: Callable[[], Awaitable[object]], after: float) -> None:
    """Run `work` over and over in a group that is left after some seconds, as the rooms do it."""

    async def for_ever() -> None:
        while True:
            await work()
            await asyncio.sleep(0)

    task = asyncio.get_running_loop().create_task(for_ever())
    await asyncio.sleep(after)
    task.cancel()
    _, alive = await asyncio.wait([task], timeout=ENDS_WITHIN)
    lost = bool(alive)
    while alive:
        task.cancel()
        _, alive = await asyncio.wait([task], timeout=ENDS_WITHIN)
    assert not lost, "a cancellation was lost"
    assert task.cancelled()


@pytest.mark.parametrize("work", WORKS)
async def test_a_cancellation_at_any_moment_is_never_lost(nats_server, work: Work) -> None:
    await create_mesh(nats_server.credentials("operator"), "m1")
    chance = random.Random(11)
    async with connect(nats_server.credentials("controller-1"), timeout=10) as bus:
        assert isinstance(bus, NatsBus)
        before = len(bus.line._listeners)
        for _ in range(CANCELLATIONS):
            await ends_when_cancelled(lambda: work.turn(bus), chance.uniform(0, 4 * work.takes))
        assert len(bus.line._listeners) == before, "subscriptions were left behind"
        await bus.state.info()


async def test_connecting_ends_when_cancelled_at_any_moment(nats_server) -> None:
    chance = random.Random(12)
    credentials = nats_server.credentials("controller-1")

    async def come_and_go() -> None:
        async with connect(credentials) as bus:
            await bus.core.publish("mesh.leader", b"")

    for _ in range(CANCELLATIONS):
        await ends_when_cancelled(come_and_go, chance.uniform(0, 0.03))


async def test_a_frozen_server_holds_nobody_up(nats_server) -> None:
    await create_mesh(nats_server.credentials("operator"), "m1")
    entered = asyncio.Event()

    async def stay() -> None:
        async with connect(nats_server.credentials("controller-1")) as bus, bus.state.watch():
            entered.set()
            while True:
                try:
                    await bus.core.publish("mesh.leader", b"x" * 1_000_000)
                except Unreachable:
                    await asyncio.sleep(0.01)

    for pause in (0.1, 0.4, 4.0):
        task = asyncio.get_running_loop().create_task(stay())
        await entered.wait()
        entered.clear()
        nats_server.freeze()
        try:
            await asyncio.sleep(pause)
            task.cancel()
            _, alive = await asyncio.wait([task], timeout=ENDS_WITHIN)
            assert not alive, f"it does not end after {pause} s"
        finally:
            nats_server.thaw()


async def test_what_the_library_loses_is_raised_after_it() -> None:
    async def swallows() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "swallowed"
        return ""

    async def turns_it_into_an_error() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise OSError("told instead") from None

    for lossy in (swallows, turns_it_into_an_error):
        task = asyncio.get_running_loop().create_task(kept(lossy()))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


async def test_a_cancellation_dealt_with_before_is_not_raised_again() -> None:
    async def fine() -> str:
        await asyncio.sleep(0)
        return "fine"

    async def after_one() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return await kept(fine())
        return ""

    task = asyncio.get_running_loop().create_task(after_one())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "fine"


async def test_a_cancellation_that_comes_with_the_answer_counts(nats_server) -> None:
    """The library's `wait_for` gives the answer and loses the cancellation; so does its flushing."""
    client = Client()
    await client.connect(servers=[nats_server.url], user="operator", password="word", inbox_prefix="_INBOX_operator")
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: barrier(client),
        lambda: publish(client, "mesh.leader", b"", "", None),
        lambda: listen_once(client),
    ]
    for number, call in enumerate(calls):
        for steps in range(12):
            task = asyncio.get_running_loop().create_task(never_ending(call))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            _, alive = await asyncio.wait([task], timeout=ENDS_WITHIN)
            assert not alive, f"call {number}, cancelled after {steps} steps"
    await client.close()


async def never_ending(call: Callable[[], Awaitable[object]]) -> None:
    while True:
        await call()
        await asyncio.sleep(0)


async def listen_once(client: Client) -> None:
    subscription = await subscribe(client, "mesh.leader", "", lambda _: None)
    await unsubscribe(subscription)
