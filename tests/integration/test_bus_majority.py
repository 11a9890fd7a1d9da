"""Who answers for a stream has a majority behind it: a server that is cut off, or was stalled, does not know better."""

from __future__ import annotations

import asyncio
import contextlib
import time

import nats
from nats.aio.msg import Msg

from bus.commits import Committed, Put
from bus.nats import connect
from bus.nats_admin import create_mesh
from bus.nats_wire import QUORUM_SILENCE, info_of
from bus.port import StoreInfo
from bus.users import Credentials
from schemas.errors import Unreachable
from schemas.subjects import STATE_STREAM

USER = "controller-1"


def on(servers) -> Credentials:
    return Credentials(tuple(server.url for server in servers), USER, "word")


def understood(data: bytes) -> StoreInfo | str:
    """What is told, or why it is not to be believed."""
    try:
        return info_of(data)
    except Unreachable as error:
        return error.message


async def leading(servers):
    """The server that leads the state stream of a mesh that is made here, and the others."""
    await create_mesh(on(servers), "m1", 3)
    async with connect(on(servers), timeout=10) as bus:
        name = (await bus.state.info()).leader
    (leader,) = [server for server in servers if server.name == name]
    return leader, [server for server in servers if server is not leader]


async def test_who_answers_for_a_stream_at_rest_is_believed(nats_cluster) -> None:
    await create_mesh(on(nats_cluster), "m1", 3)
    async with connect(on(nats_cluster), timeout=10) as bus:
        for _ in range(20):
            assert (await bus.state.info()).replicas == 3
            await asyncio.sleep(0.25)


async def test_a_server_whose_others_have_died_is_not_believed_for_long(nats_cluster) -> None:
    """Without being asked for its majority it would be for ten seconds."""
    leader, others = await leading(nats_cluster)
    async with connect(on([leader]), timeout=10) as bus, asyncio.timeout(60):
        for server in others:
            await asyncio.to_thread(server.kill)
        began = time.monotonic()
        assert (await bus.state.info()).leader == leader.name
        refused: dict[str, float] = {}
        while time.monotonic() - began < QUORUM_SILENCE + 3.0:
            try:
                await bus.state.info()
            except Unreachable as error:
                refused.setdefault(error.message, time.monotonic() - began)
            await asyncio.sleep(0.2)
            with contextlib.suppress(Unreachable):
                assert (await bus.state.read("mesh")) is None or not refused, "what is read is not confirmed"
    (said,) = [message for message in refused if "has not heard from most" in message]
    assert refused[said] > QUORUM_SILENCE - 2.0, "a beat was missed, and that was enough"


async def test_a_server_that_was_stalled_does_not_pass_for_one_that_knows(nats_cluster) -> None:
    leader, others = await leading(nats_cluster)
    staying = await nats.connect(leader.url, user=USER, password="word", ping_interval=300, allow_reconnect=False)
    async with connect(on(others), timeout=10) as bus, asyncio.timeout(120):
        await asyncio.to_thread(leader.freeze)
        outcome = None
        while not isinstance(outcome, Committed):
            outcome = await bus.state.commit([Put("cursor.a", b"{}")])
            await asyncio.sleep(0.1)
        told: list[StoreInfo | str] = []
        inbox = staying.new_inbox()

        async def note(message: Msg) -> None:
            told.append(understood(message.data))

        await staying.subscribe(inbox, cb=note)
        for number in range(300):
            await staying.publish(f"$JS.API.STREAM.INFO.{STATE_STREAM}", b"", reply=inbox)
            if number == 100:
                await asyncio.to_thread(leader.thaw)
            await asyncio.sleep(0.01)
        await staying.close()
    assert told
    assert all(info.last >= outcome.sequence for info in told if isinstance(info, StoreInfo))
