"""Three servers that replicate: what holds when one of them dies."""

from __future__ import annotations

import asyncio

from bus.commits import Busy, Committed, Fence, Fenced, Outcome, Put, Unknown
from bus.nats import connect
from bus.nats_admin import create_mesh
from bus.port import Bus
from bus.users import Credentials
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
