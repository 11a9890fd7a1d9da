"""Making a mesh on a real server, and what a server with a mesh takes."""

from __future__ import annotations

import asyncio
import random

import msgspec
import pytest

from bus.commits import Committed, Delete, Fence, Fenced, Put
from bus.nats import NatsBus, connect
from bus.nats_admin import create_mesh, stream_settings
from bus.port import Entry
from bus.users import Credentials
from bus.writer import Writer
from schemas.errors import Conflict, Refused, StoreMissing, Unreachable
from schemas.subjects import EPOCH
from tests.conftest import NatsServer


async def test_a_mesh_is_made_once(nats_server) -> None:
    operator = nats_server.credentials("operator")
    assert await create_mesh(operator, "m1") == 1
    with pytest.raises(Conflict):
        await create_mesh(operator, "m2")
    async with connect(operator, timeout=5) as bus:
        entry = await bus.state.read("mesh")
    assert entry is not None
    assert b'"m1"' in (entry.value or b"")


async def begin(credentials: Credentials, mesh_id: str, streams: int, records: int = 0) -> None:
    """A creation that stopped half way."""
    async with connect(credentials, timeout=5) as bus:
        assert isinstance(bus, NatsBus)
        for settings in stream_settings(1, mesh_id=mesh_id)[:streams]:
            subject = f"$JS.API.STREAM.CREATE.{settings['name']}"
            await bus.line.ask(subject, msgspec.json.encode(settings), timeout=5)
        for number in range(records):
            await bus.state.commit([Put(f"job.{number}", b"")])


@pytest.mark.parametrize("streams", [0, 1, 2, 3])
async def test_a_creation_that_stopped_half_way_is_finished_by_the_same_again(nats_server, streams: int) -> None:
    operator = nats_server.credentials("operator")
    await begin(operator, "m1", streams)
    assert await create_mesh(operator, "m1") == 1
    assert await create_mesh(operator, "m1") == 1
    async with connect(operator, timeout=5) as bus:
        assert (await bus.state.info()).last == 1
        assert (await bus.observed.info()).last == (await bus.events.info()).last == 0


async def test_a_mesh_that_another_began_is_not_touched(nats_server) -> None:
    operator = nats_server.credentials("operator")
    await begin(operator, "m1", 2)
    with pytest.raises(Conflict) as refused:
        await create_mesh(operator, "m2")
    assert "'m1'" in refused.value.hint
    with pytest.raises(Conflict):
        await create_mesh(operator, "m1", generation=2, first_sequence=7)
    assert await create_mesh(operator, "m1") == 1
    with pytest.raises(Conflict, match="m1"):
        await create_mesh(operator, "m1", generation=2)


async def test_records_without_a_mesh_record_are_no_unfinished_creation(nats_server) -> None:
    """It may be a restore under way, which writes the `mesh` record last."""
    operator = nats_server.credentials("operator")
    await begin(operator, "m1", 3, records=2)
    with pytest.raises(Conflict):
        await create_mesh(operator, "m1")


async def test_a_lost_state_stream_is_not_taken_for_an_unfinished_creation(nats_server) -> None:
    operator = nats_server.credentials("operator")
    await create_mesh(operator, "m1")
    async with connect(operator, timeout=5) as bus:
        assert isinstance(bus, NatsBus)
        await bus.line.ask("$JS.API.STREAM.DELETE.KV_mesh_state", b"", timeout=5)
    with pytest.raises(Conflict, match="KV_mesh_observed"):
        await create_mesh(operator, "m1")


SMALL = "max_file_store: 100000000"


async def test_a_store_without_the_room_is_said_so_and_the_creation_goes_on_when_there_is_some(nats_server) -> None:
    operator = nats_server.credentials("operator")
    await resize([nats_server], SMALL)
    with pytest.raises(Refused, match="no room for mesh_events") as refused:
        await create_mesh(operator, "m1")
    assert "1 GiB" in refused.value.hint
    await resize([nats_server], "")
    assert await create_mesh(operator, "m1") == 1


async def test_a_cluster_without_the_room_says_so_in_seconds(nats_cluster) -> None:
    await resize(nats_cluster, SMALL)
    async with asyncio.timeout(19):
        with pytest.raises(Refused, match="no room for mesh_events"):
            await create_mesh(nats_cluster[0].credentials("operator"), "m1", 3)


async def resize(servers: list[NatsServer], setting: str) -> None:
    """Start the servers anew with this setting of JetStream."""
    for server in servers:
        await asyncio.to_thread(server.kill)
        server.alter = lambda text: text.replace("jetstream {", f"jetstream {{\n  {setting}").replace(
            "jetstream: {", f"jetstream: {{ {setting}," if setting else "jetstream: {"
        )
    for server in servers:
        await asyncio.to_thread(server.start)


async def test_a_restored_mesh_starts_above_the_highest_sequence(nats_server) -> None:
    assert await create_mesh(nats_server.credentials("operator"), "m1", generation=2, first_sequence=5000) == 5000


async def test_the_streams_have_the_settings_that_were_asked_for(nats_server) -> None:
    await create_mesh(nats_server.credentials("operator"), "m1")
    async with connect(nats_server.credentials("operator"), timeout=5) as bus:
        assert isinstance(bus, NatsBus)
        for wanted in stream_settings(1, mesh_id="m1"):
            answer = await bus.line.ask(f"$JS.API.STREAM.INFO.{wanted['name']}", b"", timeout=5)
            config = msgspec.json.decode(answer.data)["config"]
            # A setting that is off is left out of the answer.
            assert {name: config.get(name, False) for name in wanted} == wanted
            assert not config.get("allow_rollup_hdrs", False)


async def test_without_a_mesh_the_store_is_missing_and_nothing_is_made(nats_server) -> None:
    async with connect(nats_server.credentials("controller-1"), timeout=5) as bus:
        for asking in (bus.state.info(), bus.state.read("mesh"), bus.state.snapshot(), bus.events.info()):
            with pytest.raises(StoreMissing):
                await asking
        async with bus.state.watch():
            pass
        with pytest.raises(Unreachable):
            await bus.events.append("mesh.event.a.b._._", b"", "1")
        with pytest.raises(StoreMissing):
            await bus.state.info()


async def test_a_stopped_leader_that_wakes_late_stores_nothing(nats_server) -> None:
    """It has its writes ready, is deposed while it sleeps, and sends them all at once when it wakes."""
    await create_mesh(nats_server.credentials("operator"), "m1")
    async with (
        connect(nats_server.credentials("controller-1"), timeout=5) as old,
        connect(nats_server.credentials("controller-2"), timeout=5) as new,
    ):
        first = await old.state.commit([Put(EPOCH, b"old", 0)])
        assert isinstance(first, Committed)
        writer = Writer(old.state, Fence(first.sequence))
        async with asyncio.TaskGroup() as group:
            waking = [group.create_task(writer.submit([Put(f"desired.n{n}", b"late"), Delete("job.x")])) for n in "123"]
            second = await new.state.commit([Put(EPOCH, b"new", first.sequence)])
            assert isinstance(second, Committed)
            running = group.create_task(writer.run())
            assert [await each for each in waking] == [Fenced()] * 3
            assert await writer.submit([Put("desired.n4", b"later still")]) == Fenced()
            running.cancel()
        assert (await new.state.info()).last == second.sequence


async def test_many_writers_share_batches(nats_server) -> None:
    await create_mesh(nats_server.credentials("operator"), "m1")
    async with connect(nats_server.credentials("controller-1"), timeout=5) as bus:
        taken = await bus.state.commit([Put(EPOCH, b"", 0)])
        assert isinstance(taken, Committed)
        writer = Writer(bus.state, Fence(taken.sequence))
        async with asyncio.TaskGroup() as group:
            running = group.create_task(writer.run())
            outcomes = [group.create_task(writer.submit([Put(f"desired.n{n}", b"x" * 100)])) for n in range(2000)]
            for each in outcomes:
                assert isinstance(await each, Committed)
            running.cancel()
        assert len((await bus.state.snapshot()).entries) == 2002


async def test_a_snapshot_of_many_portions_is_whole(nats_server) -> None:
    await create_mesh(nats_server.credentials("operator"), "m1")
    async with connect(nats_server.credentials("controller-1"), timeout=5) as bus:
        for start in range(0, 3_000, 200):
            await bus.state.commit([Put(f"desired.n{number}", b"x" * 50) for number in range(start, start + 200)])
        snapshot = await bus.state.snapshot()
        assert len(snapshot.entries) == 3_001
        assert snapshot.sequence == 3_001


GARBAGE = [b"", b"\x00\xff\xfe", b"{", b"[]", b"null", b'{"error":5}', b"\xf0\x9f\x92\xa9" * 1000]


async def test_garbage_on_every_subject_harms_nothing(nats_server) -> None:
    await create_mesh(nats_server.credentials("operator"), "m1")
    rng = random.Random(7)
    async with (
        connect(nats_server.credentials("operator"), timeout=5) as vandal,
        connect(nats_server.credentials("controller-1"), timeout=5) as bus,
        connect(nats_server.credentials("agent-n1"), timeout=5) as agent,
        bus.state.watch() as watch,
        bus.observed.watch() as observed,
        agent.state.watch("desired.n1") as own,
        bus.disconnects() as gone,
    ):
        assert isinstance(vandal, NatsBus)
        subjects = ["mesh.state.desired.n1", "mesh.state.x", "mesh.observed.n1", "mesh.leader", "mesh.heartbeat.n1"]
        subjects += ["mesh.node.n1.logs", "mesh.api.a.b", "mesh.controller.x", "$SYS.ACCOUNT.AGENTS.DISCONNECT"]
        for subject in subjects:
            for data in [*GARBAGE, rng.randbytes(200)]:
                headers = rng.choice([None, {"Nats-Sequence": "x", "Nats-Subject": "y"}, {"Nats-Subject": "$KV."}])
                await vandal.line.tell(subject, data, headers=headers)
        for data in GARBAGE:
            assert isinstance(await vandal.state.commit([Put("service.web", data)]), Committed)
            assert isinstance(await vandal.observed.commit([Put("n1", data)]), Committed)
        assert isinstance(await bus.state.commit([Put("desired.n1", b"true")]), Committed)
        async with asyncio.timeout(5):
            assert [
                entry.value for entry in [await watch.next() for _ in GARBAGE] if isinstance(entry, Entry)
            ] == GARBAGE
            seen = [await observed.next() for _ in GARBAGE]
            assert [entry.value for entry in seen if isinstance(entry, Entry)] == GARBAGE
            entry = await own.next()
        assert isinstance(entry, Entry)
        assert entry.value == b"true"
        assert len(gone._feed) == 0  # type: ignore[attr-defined]
        assert bus.connected
        assert agent.connected
