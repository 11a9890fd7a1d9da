"""The connection to a real server: kept up, rebuilt, never buffering."""

from __future__ import annotations

import asyncio

import pytest

from bus.commits import Committed, Put, Unknown
from bus.nats import NatsBus, connect
from bus.nats_admin import create_mesh
from bus.port import Bus, Entry, From, Gap
from bus.users import Credentials
from schemas.errors import Refused, Unreachable


async def until_connected(bus: Bus, wanted: bool = True) -> None:
    async with asyncio.timeout(15):
        while bus.connected != wanted:
            await asyncio.sleep(0.01)


async def break_with_an_error(bus: NatsBus) -> None:
    """Have the server close the connection with -ERR: a message over its limit, past the library's own check."""
    client = bus.line._client
    assert client is not None
    client._max_payload = 2**31
    await client.publish("mesh.leader", b"x" * (5 * 1024 * 1024))


async def test_a_client_that_the_server_closed_is_rebuilt_with_its_subscriptions(nats_server) -> None:
    async with (
        connect(nats_server.credentials("controller-1"), timeout=5) as bus,
        connect(nats_server.credentials("controller-2"), timeout=5) as other,
        bus.core.subscribe("mesh.leader") as heard,
    ):
        assert isinstance(bus, NatsBus)
        for number in range(3):
            before = bus.line._client
            await break_with_an_error(bus)
            async with asyncio.timeout(10):
                while bus.line._client is before or not bus.connected:
                    await asyncio.sleep(0.01)
            await other.core.publish("mesh.leader", b"%d" % number)
            async with asyncio.timeout(5):
                assert (await heard.next()).data == b"%d" % number


async def test_subscriptions_and_watches_survive_a_restart_of_the_server(nats_server) -> None:
    await create_mesh(nats_server.credentials("operator"), "m1")
    async with (
        connect(nats_server.credentials("controller-1"), timeout=5) as bus,
        connect(nats_server.credentials("agent-n1"), timeout=5) as agent,
        bus.core.subscribe("mesh.heartbeat.*") as beats,
        bus.state.watch() as watch,
        agent.state.watch("desired.n1") as own,
    ):
        await asyncio.to_thread(nats_server.kill)
        await until_connected(bus, False)
        await until_connected(agent, False)
        await asyncio.to_thread(nats_server.start)
        await until_connected(bus)
        await until_connected(agent)
        async with asyncio.timeout(5):
            assert isinstance(await own.next(), Gap)
            assert isinstance(await watch.next(), Gap)
            assert isinstance(await bus.state.commit([Put("desired.n1", b"do")]), Committed)
            for each in (watch, own):
                entry = await each.next()
                assert isinstance(entry, Entry)
                assert entry.value == b"do"
            async with asyncio.TaskGroup() as group:
                answered = group.create_task(agent.core.request("mesh.heartbeat.n1", b"", timeout=5))
                await bus.core.respond(await beats.next(), b"yes")
            assert answered.result() == b"yes"


async def test_nothing_is_buffered_while_there_is_no_connection(nats_server) -> None:
    await create_mesh(nats_server.credentials("operator"), "m1")
    async with (
        connect(nats_server.credentials("controller-1"), timeout=5) as bus,
        bus.core.subscribe("mesh.leader") as heard,
    ):
        await asyncio.to_thread(nats_server.kill)
        await until_connected(bus, False)
        with pytest.raises(Unreachable):
            await bus.core.publish("mesh.leader", b"stale")
        with pytest.raises(Unreachable):
            await bus.core.request("mesh.api.status.get", b"stale", timeout=1)
        assert isinstance(await bus.state.commit([Put("job.x", b"stale")]), Unknown)
        await asyncio.to_thread(nats_server.start)
        await until_connected(bus)
        await bus.core.publish("mesh.leader", b"fresh")
        async with asyncio.timeout(5):
            assert (await heard.next()).data == b"fresh"
        assert await bus.state.read("job.x") is None


async def test_a_request_under_way_fails_as_soon_as_the_connection_is_lost(nats_server) -> None:
    async with (
        connect(nats_server.credentials("controller-1"), timeout=5) as bus,
        bus.core.subscribe("mesh.api.>") as asked,
        asyncio.timeout(10),
        asyncio.TaskGroup() as group,
    ):
        waiting = group.create_task(outcome_of(bus))
        await asked.next()
        await asyncio.to_thread(nats_server.kill)
        assert "lost" in await waiting


async def outcome_of(bus: Bus) -> str:
    try:
        await bus.core.request("mesh.api.status.get", b"", timeout=60)
    except Unreachable as error:
        return error.message
    return ""


async def test_connecting_waits_for_a_server_that_comes_later(nats_server) -> None:
    nats_server.kill()

    async def come_later() -> None:
        await asyncio.sleep(0.3)
        await asyncio.to_thread(nats_server.start)

    async with asyncio.TaskGroup() as group:
        group.create_task(come_later())
        async with connect(nats_server.credentials("controller-1")) as bus:
            assert bus.connected


async def test_no_server_is_told_in_time() -> None:
    with pytest.raises(Unreachable, match="no NATS server answers"):
        async with connect(Credentials(servers=("nats://127.0.0.1:1",)), timeout=0.3):
            pytest.fail("connected to nothing")


async def test_a_wrong_password_is_told_as_that(nats_server) -> None:
    with pytest.raises(Refused, match="credentials"):
        async with connect(nats_server.credentials("controller-1", "wrong"), timeout=1):
            pytest.fail("let in")


async def test_an_error_inside_the_context_comes_out_as_it_is(nats_server) -> None:
    with pytest.raises(KeyError):
        async with connect(nats_server.credentials("controller-1"), timeout=5):
            raise KeyError("mine")


async def test_a_message_that_is_too_large_is_refused_and_does_not_cut_the_line(nats_server) -> None:
    async with connect(nats_server.credentials("controller-1"), timeout=5) as bus:
        with pytest.raises(Refused):
            await bus.core.publish("mesh.leader", b"x" * (4 * 1024 * 1024 + 1))
        assert bus.connected


async def test_a_lost_last_message_of_a_watch_is_found_out(nats_server) -> None:
    await create_mesh(nats_server.credentials("operator"), "m1")
    async with (
        connect(nats_server.credentials("controller-1"), timeout=5) as bus,
        connect(nats_server.credentials("controller-2"), timeout=5) as other,
        bus.state.watch() as watch,
    ):
        listener = watch._listener  # type: ignore[attr-defined]
        deliver, listener.handler = listener.handler, lambda _: None
        await other.state.commit([Put("job.lost", b"")])
        await asyncio.sleep(0.1)
        listener.handler = deliver
        async with asyncio.timeout(5):
            assert isinstance(await watch.next(), Gap)
        await other.state.commit([Put("job.seen", b"")])
        entry = await watch.next()
        assert isinstance(entry, Entry)
        assert entry.key == "job.seen"


async def test_a_hole_in_a_watch_is_found_out_at_once(nats_server) -> None:
    await create_mesh(nats_server.credentials("operator"), "m1")
    async with connect(nats_server.credentials("controller-1"), timeout=5) as bus, bus.state.watch() as watch:
        listener = watch._listener  # type: ignore[attr-defined]
        deliver, listener.handler = listener.handler, lambda _: None
        await bus.state.commit([Put("job.lost", b"")])
        await bus.state.info()
        listener.handler = deliver
        await bus.state.commit([Put("job.seen", b"")])
        async with asyncio.timeout(1):
            assert isinstance(await watch.next(), Gap)
            entry = await watch.next()
        assert isinstance(entry, Entry)
        assert entry.key == "job.seen"


async def test_a_reader_of_events_loses_none_over_a_restart(nats_server) -> None:
    await create_mesh(nats_server.credentials("operator"), "m1")
    credentials = nats_server.credentials("controller-1")
    got: list[int] = []

    async def read(bus: Bus, count: int) -> None:
        async with bus.events.read(From(after=0, cursor="all")) as reader:
            while len(got) < count:
                event = await reader.next()
                got.append(int(event.data))
                await reader.confirm(event.sequence)

    async def append(bus: Bus, numbers: range) -> None:
        for number in numbers:
            while True:
                try:
                    await bus.events.append("mesh.event.a.b._._", b"%d" % number, f"id-{number}")
                    break
                except Unreachable:
                    await asyncio.sleep(0.05)

    async with connect(credentials, timeout=5) as bus, asyncio.timeout(40), asyncio.TaskGroup() as group:
        group.create_task(read(bus, 150))
        await append(bus, range(50))
        await asyncio.to_thread(nats_server.kill)
        telling = group.create_task(append(bus, range(50, 150)))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(nats_server.start)
        await telling
    async with connect(credentials, timeout=5) as bus, asyncio.timeout(20):
        await append(bus, range(150, 160))
        await read(bus, 160)
    assert got == list(range(160))
