"""Three servers that replicate: what holds when one of them dies."""

from __future__ import annotations

import asyncio
import time

from bus.commits import Busy, Committed, Conflicted, Fence, Fenced, Outcome, Put, Unknown
from bus.nats import NatsBus, connect
from bus.nats_admin import create_mesh
from bus.nats_line import MOVE_EVERY
from bus.port import Bus, Gap
from bus.users import Credentials
from schemas.errors import Unreachable
from schemas.subjects import EPOCH


def everywhere(servers, user: str) -> Credentials:
    return Credentials(tuple(server.url for server in servers), user, "word")


async def insist(bus: Bus, batch: list[Put], fence: Fence | None) -> Outcome:
    """Commit until the outcome is known."""
    while True:
        outcome = await bus.state.commit(batch, fence)
        if not isinstance(outcome, Busy | Unknown):
            return outcome
        await asyncio.sleep(0.05)


async def test_nothing_acknowledged_is_lost_when_a_server_is_killed(nats_cluster) -> None:
    credentials = everywhere(nats_cluster, "controller-1")
    await create_mesh(credentials, "m1", 3)
    async with connect(credentials, timeout=10) as bus, asyncio.timeout(60):
        first = await insist(bus, [Put(EPOCH, b"first", 0)], None)
        assert isinstance(first, Committed)
        fence = Fence(first.sequence)
        acknowledged: dict[str, tuple[int, bytes]] = {}

        async def write(number: int) -> None:
            batch = [Put(f"desired.n{(number + i) % 20}", b"%d.%d" % (number, i)) for i in range(5)]
            outcome = await insist(bus, batch, fence)
            assert isinstance(outcome, Committed), outcome
            for offset, each in enumerate(batch):
                acknowledged[each.key] = (outcome.first + offset, each.value)

        for number in range(50):
            await write(number)
        leader = (await bus.state.info()).leader
        dying = next(server for server in nats_cluster if server.name == leader)
        await asyncio.to_thread(dying.kill)
        for number in range(50, 80):
            await write(number)

        snapshot = await bus.state.snapshot()
        shown = {entry.key: (entry.sequence, entry.value) for entry in snapshot.entries}
        assert {key: shown[key] for key in acknowledged} == acknowledged

        second = await insist(bus, [Put(EPOCH, b"second", fence.epoch)], None)
        assert isinstance(second, Committed), "a comparison with the true sequence holds"
        assert isinstance(await insist(bus, [Put("desired.n1", b"late")], fence), Fenced)
        assert isinstance(await insist(bus, [Put("desired.n1", b"now")], Fence(second.sequence)), Committed)

        await asyncio.to_thread(dying.start)
        entry = await bus.state.read("desired.n1")
        assert entry is not None
        assert entry.value == b"now"


async def test_a_snapshot_under_writes_misses_no_key(nats_cluster) -> None:
    credentials = everywhere(nats_cluster, "controller-1")
    await create_mesh(credentials, "m1", 3)
    async with connect(credentials, timeout=10) as bus, connect(credentials, timeout=10) as other:
        keys = [f"service.s{number}" for number in range(300)]
        for start in range(0, 300, 150):
            await insist(bus, [Put(key, b"0") for key in keys[start : start + 150]], None)
        stop = asyncio.Event()

        async def keep_writing() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                await bus.state.commit([Put(keys[(number * 7 + i) % 300], b"%d" % number) for i in range(20)])

        async with asyncio.TaskGroup() as group:
            group.create_task(keep_writing())
            for _ in range(15):
                confirmed = (await other.state.info()).last
                snapshot = await other.state.snapshot()
                assert snapshot.sequence >= confirmed
                assert {entry.key for entry in snapshot.entries} >= set(keys)
            stop.set()


async def test_connections_move_to_a_server_that_lives(nats_cluster) -> None:
    only_one = Credentials((nats_cluster[0].url,), "controller-1", "word")
    async with connect(only_one, timeout=10) as bus, bus.core.subscribe("mesh.leader") as heard:
        await asyncio.sleep(0.5)
        await asyncio.to_thread(nats_cluster[0].kill)
        async with connect(everywhere(nats_cluster[1:], "controller-2"), timeout=10) as other, asyncio.timeout(15):
            received = False
            while not received:
                await other.core.publish("mesh.leader", b"still here")
                try:
                    async with asyncio.timeout(0.1):
                        received = (await heard.next()).data == b"still here"
                except TimeoutError:
                    continue


async def test_who_sits_on_a_server_that_stalls_moves_when_it_asks_and_nobody_else_does(nats_cluster) -> None:
    """Without being asked the line would notice only after 2 to 3 s."""
    await create_mesh(everywhere(nats_cluster, "controller-1"), "m1", 3)
    stalling, others = nats_cluster[2], nats_cluster[:2]
    first = Credentials((stalling.url,), "controller-1", "word")
    async with (
        connect(first, timeout=10) as bus,
        connect(everywhere(others, "controller-2"), timeout=10) as other,
        bus.core.subscribe("mesh.leader") as heard,
        bus.state.watch() as watch,
        asyncio.timeout(20),
    ):
        assert isinstance(bus, NatsBus)
        bus.line._servers = [server.url for server in nats_cluster]
        assert not await bus.check_line(0.3), "moved away from a server that answers"
        await asyncio.sleep(MOVE_EVERY)
        await asyncio.to_thread(stalling.freeze)
        try:
            began = time.monotonic()
            async with asyncio.TaskGroup() as group:
                asked = group.create_task(refusal_of(bus))
                checks = [group.create_task(bus.check_line(0.3)) for _ in range(2)]
            took = time.monotonic() - began
            assert [check.result() for check in checks] == [True, True]
            assert "lost" in asked.result()
            assert took < 1.5, f"moved after {took:.2f} s"
            assert not await other.check_line(0.3)
            await other.core.publish("mesh.leader", b"heard again")
            assert (await heard.next()).data == b"heard again"
            assert isinstance(await watch.next(), Gap)
            assert isinstance(await insist(bus, [Put("job.moved", b"")], None), Committed | Conflicted)
        finally:
            stalling.thaw()


async def test_nobody_leaves_a_server_that_stalls_while_no_other_lets_him_in(nats_cluster) -> None:
    credentials = everywhere(nats_cluster, "controller-1")
    async with connect(credentials, timeout=10) as bus, asyncio.timeout(20):
        assert isinstance(bus, NatsBus)
        await asyncio.sleep(MOVE_EVERY)
        for server in nats_cluster:
            await asyncio.to_thread(server.freeze)
        client = bus.line._client
        try:
            async with asyncio.TaskGroup() as group:
                check = group.create_task(bus.check_line(0.3))
                await asyncio.sleep(0.6)
                for server in nats_cluster:
                    server.thaw()
            assert not check.result()
            assert bus.line._client is client
        finally:
            for server in nats_cluster:
                server.thaw()


async def refusal_of(bus: Bus) -> str:
    try:
        await bus.state.info()
    except Unreachable as error:
        return error.message
    return ""
