"""Every fault that DESIGN asks of the bus in memory can be produced, in virtual time."""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Awaitable, Callable

import pytest

from bus.commits import Busy, Committed, Fence, Fenced, Outcome, Put, Unknown
from bus.memory import MemoryBroker
from bus.memory_faults import LATE, Packet
from bus.port import Bus, Entry, From, Gap
from schemas.errors import StoreMissing, Unreachable
from schemas.subjects import EPOCH
from tests.sim.loop import run


def virtual(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    @functools.wraps(test)
    def wrapper() -> None:
        run(test())  # type: ignore[arg-type]

    del wrapper.__wrapped__  # type: ignore[attr-defined]
    return wrapper


async def put(bus: Bus, key: str, value: bytes = b"1") -> Outcome:
    return await bus.state.commit([Put(key, value)])


def elapsed() -> float:
    return asyncio.get_running_loop().time()


@virtual
async def test_unknown_that_was_stored_and_unknown_that_was_not() -> None:
    broker = MemoryBroker()
    bus = broker.connect("controller-1")
    broker.faults.next_commits.extend(["unknown-stored", "unknown-not-stored", "busy"])
    assert isinstance(await put(bus, "job.a"), Unknown)
    assert isinstance(await put(bus, "job.b"), Unknown)
    assert isinstance(await put(bus, "job.c"), Busy)
    assert await bus.state.read("job.a") is not None
    assert await bus.state.read("job.b") is None
    assert await bus.state.read("job.c") is None


@virtual
async def test_no_writes_for_seconds_while_reads_go_on() -> None:
    broker = MemoryBroker()
    bus = broker.connect("controller-1")
    await put(bus, "job.a")
    broker.pause_writes(5.0)
    start = elapsed()
    assert isinstance(await put(bus, "job.b"), Unknown)
    assert await bus.state.read("job.a") is not None
    with pytest.raises(Unreachable):
        await bus.events.append("mesh.event.a.b._._", b"", "1")
    assert elapsed() - start == pytest.approx(4.0)
    assert isinstance(await put(bus, "job.c"), Committed), "a short rest of the pause is waited for"
    assert elapsed() - start == pytest.approx(5.0)


@virtual
async def test_a_write_that_was_given_up_can_be_stored_late() -> None:
    broker = MemoryBroker()
    bus = broker.connect("controller-1")
    broker.pause_writes(5.0, late=True)
    assert isinstance(await put(bus, "job.b"), Unknown)
    assert await bus.state.read("job.b") is None
    await asyncio.sleep(4)
    assert await bus.state.read("job.b") is not None


@virtual
async def test_what_is_stored_late_never_lies_over_what_was_written_after_it() -> None:
    broker = MemoryBroker()
    bus = broker.connect("controller-1")
    start = elapsed()
    broker.pause_writes(9.0, late=True)
    assert isinstance(await put(bus, "job.a", b"old"), Unknown)
    broker.pause_writes(3.0, late=True)
    while not isinstance(await put(bus, "job.a", b"new"), Committed):
        pass
    assert elapsed() - start == pytest.approx(9.0), "a second pause does not end the first"
    await asyncio.sleep(5)
    entry = await bus.state.read("job.a")
    assert entry is not None
    assert entry.value == b"new"


@virtual
async def test_stale_reads_and_snapshots() -> None:
    broker = MemoryBroker()
    bus = broker.connect("controller-1")
    for number in range(5):
        await put(bus, "job.a", b"%d" % number)
    broker.faults.read_lag = broker.faults.snapshot_lag = 2
    near, true = await bus.state.read_near("job.a"), await bus.state.read("job.a")
    assert near is not None
    assert true is not None
    assert (near.value, true.value) == (b"2", b"4")
    snapshot = await bus.state.snapshot()
    assert [entry.value for entry in snapshot.entries if entry.key == "job.a"] == [b"2"]
    assert snapshot.sequence == true.sequence - 2


@virtual
async def test_a_snapshot_that_is_behind_ends_between_two_batches() -> None:
    broker = MemoryBroker()
    bus = broker.connect("controller-1")
    await put(bus, "job.a")
    await bus.state.commit([Put(key, b"{}") for key in ("service.web", "revision.web.1", "stack.shop")])
    for broker.faults.snapshot_lag in (1, 2, 3):
        snapshot = await bus.state.snapshot()
        assert [entry.key for entry in snapshot.entries if entry.key != "mesh"] == ["job.a"]
        assert snapshot.sequence == (await bus.state.info()).last - 3
    broker.faults.snapshot_lag = 1000
    assert (await bus.state.snapshot()).sequence == 0


@virtual
async def test_a_snapshot_that_is_old_when_it_comes() -> None:
    broker = MemoryBroker()
    bus = broker.connect("controller-1")
    broker.faults.snapshot_takes = 1.0
    async with asyncio.TaskGroup() as group:
        taking = group.create_task(bus.state.snapshot())
        await asyncio.sleep(0.5)
        await put(bus, "job.a")
    assert "job.a" not in {entry.key for entry in taking.result().entries}


@virtual
async def test_a_lost_last_message_of_a_watch_is_found_out_within_two_seconds() -> None:
    broker = MemoryBroker()
    bus = broker.connect("controller-1")
    async with bus.state.watch() as watch:
        broker.lose("mesh.state.>", first=1)
        await put(bus, "job.a")
        start = elapsed()
        assert isinstance(await watch.next(), Gap)
        assert elapsed() - start <= 2.0
        await put(bus, "job.b")
        entry = await watch.next()
        assert isinstance(entry, Entry)
        assert entry.key == "job.b"


@virtual
async def test_a_hole_in_a_watch_is_found_out_by_the_next_entry() -> None:
    broker = MemoryBroker()
    bus = broker.connect("controller-1")
    async with bus.state.watch() as watch:
        broker.lose("mesh.state.>", first=2)
        for key in ("job.a", "job.b", "job.c"):
            await put(bus, key)
        assert isinstance(await watch.next(), Gap)
        entry = await watch.next()
        assert isinstance(entry, Entry)
        assert entry.key == "job.c"


@virtual
async def test_an_agents_watch_can_not_tell_what_it_lost() -> None:
    broker = MemoryBroker()
    bus, agent = broker.connect("controller-1"), broker.connect("agent-n1")
    async with agent.state.watch("desired.n1") as watch:
        broker.lose("mesh.state.desired.n1", first=1)
        await put(bus, "desired.n1", b"1")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await watch.next()


@virtual
async def test_buffered_messages_come_late_and_in_order() -> None:
    broker = MemoryBroker()
    one, two = broker.connect("controller-1"), broker.connect("controller-2")
    async with two.core.subscribe("mesh.leader") as heard:
        rule = broker.hold("mesh.leader", sender="controller-1")
        await one.core.publish("mesh.leader", b"1")
        await one.core.publish("mesh.leader", b"2")
        await asyncio.sleep(30)
        broker.release(rule)
        assert [(await heard.next()).data for _ in range(2)] == [b"1", b"2"]
        await one.core.publish("mesh.leader", b"3")
        assert (await heard.next()).data == b"3"


@virtual
async def test_a_heartbeat_that_is_heard_but_whose_answer_is_lost() -> None:
    broker = MemoryBroker()
    leader, agent = broker.connect("controller-1"), broker.connect("agent-n1")
    async with leader.core.subscribe("mesh.heartbeat.*") as beats:
        broker.deafen("agent-n1", "mesh.heartbeat.*", first=1)

        async def answer_two() -> None:
            for _ in range(2):
                await leader.core.respond(await beats.next(), b"yes")

        async with asyncio.TaskGroup() as group:
            group.create_task(answer_two())
            with pytest.raises(Unreachable):
                await agent.core.request("mesh.heartbeat.n1", b"", timeout=0.8)
            assert await agent.core.request("mesh.heartbeat.n1", b"", timeout=0.8) == b"yes"


@virtual
async def test_a_one_way_partition_stores_what_is_not_answered() -> None:
    broker = MemoryBroker()
    bus, other = broker.connect("controller-1"), broker.connect("controller-2")
    broker.partition("controller-1", outbound=False)
    assert isinstance(await put(bus, "job.deaf"), Unknown)
    broker.heal("controller-1")
    broker.partition("controller-1", inbound=False)
    assert isinstance(await put(bus, "job.mute"), Unknown)
    assert await other.state.read("job.deaf") is not None
    assert await other.state.read("job.mute") is None


@virtual
async def test_a_partition_that_holds_delivers_everything_late() -> None:
    broker = MemoryBroker()
    one, two = broker.connect("controller-1"), broker.connect("controller-2")
    async with two.core.subscribe("mesh.leader") as heard:
        broker.partition("controller-1", hold=True)
        await one.core.publish("mesh.leader", b"stale")
        await asyncio.sleep(10)
        await two.core.publish("mesh.leader", b"fresh")
        broker.heal("controller-1")
        assert [(await heard.next()).data for _ in range(2)] == [b"fresh", b"stale"]


@virtual
async def test_a_watch_behind_a_partition_says_so_after_it() -> None:
    broker = MemoryBroker()
    one, two = broker.connect("controller-1"), broker.connect("controller-2")
    async with one.state.watch() as watch:
        broker.partition("controller-1")
        await put(two, "job.a")
        await asyncio.sleep(10)
        broker.heal("controller-1")
        async with asyncio.timeout(3):
            assert isinstance(await watch.next(), Gap)


@virtual
async def test_a_disconnected_user_is_told_and_comes_back_with_a_gap() -> None:
    broker = MemoryBroker()
    one, two = broker.connect("controller-1"), broker.connect("controller-2")
    async with one.state.watch() as watch, one.core.subscribe("mesh.leader") as heard, two.disconnects() as gone:
        broker.disconnect("controller-1")
        assert not one.connected
        assert (await gone.next()).subject == "controller-1"
        with pytest.raises(Unreachable):
            await one.core.publish("mesh.leader", b"")
        assert isinstance(await put(one, "job.a"), Unknown)
        broker.reconnect("controller-1")
        assert isinstance(await watch.next(), Gap)
        await two.core.publish("mesh.leader", b"again")
        assert (await heard.next()).data == b"again"


@virtual
async def test_a_server_that_stalls_is_left_by_who_asks_it_and_at_last_by_all_on_it() -> None:
    broker = MemoryBroker()
    asks, waits, other = (broker.connect(f"controller-{number}") for number in range(1, 4))
    async with asks.core.subscribe("mesh.leader") as first, waits.core.subscribe("mesh.leader") as second:
        broker.stall("controller-1", "controller-2")
        await other.core.publish("mesh.leader", b"lost")
        assert await asks.check_line(0.4)
        assert not await asks.check_line(0.4)
        await other.core.publish("mesh.leader", b"1")
        assert (await first.next()).data == b"1"
        await asyncio.sleep(3)
        await other.core.publish("mesh.leader", b"2")
        assert (await second.next()).data == b"2"


@virtual
async def test_a_user_behind_a_partition_has_nowhere_to_move() -> None:
    broker = MemoryBroker()
    bus = broker.connect("controller-1")
    broker.partition("controller-1")
    assert not await bus.check_line(0.4)
    assert bus.connected


@virtual
async def test_a_killed_process_hears_nothing_more() -> None:
    broker = MemoryBroker()
    one, two = broker.connect("controller-1"), broker.connect("controller-2")
    async with one.core.subscribe("mesh.leader") as heard:
        broker.kill("controller-1")
        again = broker.connect("controller-1")
        await two.core.publish("mesh.leader", b"")
        assert again.connected
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await heard.next()


@virtual
async def test_a_lost_store_is_missing_and_takes_nothing() -> None:
    broker = MemoryBroker()
    bus = broker.connect("controller-1")
    async with bus.state.watch() as watch:
        broker.lose_store()
        assert isinstance(await put(bus, "job.a"), Unknown)
        for asking in (bus.state.read("mesh"), bus.state.snapshot(), bus.state.info()):
            with pytest.raises(StoreMissing):
                await asking
        assert isinstance(await watch.next(), Gap)


@virtual
async def test_a_rolled_back_store_ends_below_what_was_seen() -> None:
    broker = MemoryBroker()
    bus = broker.connect("controller-1")
    await put(bus, "job.a", b"old")
    checkpoint = broker.checkpoint()
    await put(bus, "job.a", b"new")
    before = (await bus.state.info()).last
    async with bus.state.watch() as watch:
        broker.roll_back(checkpoint)
        assert (await bus.state.info()).last == before - 1
        entry = await bus.state.read("job.a")
        assert entry is not None
        assert entry.value == b"old"
        assert isinstance(await watch.next(), Gap)


@virtual
async def test_a_mesh_that_was_made_anew_starts_above_and_says_its_generation() -> None:
    broker = MemoryBroker(create=False)
    bus = broker.connect("operator")
    with pytest.raises(StoreMissing):
        await bus.state.info()
    broker.create_mesh("m1", generation=2, first=900)
    entry = await bus.state.read("mesh")
    assert entry is not None
    assert entry.sequence == 900


@virtual
async def test_loss_duplicates_and_delays_follow_the_seed() -> None:
    async def trace(seed: int) -> list[tuple[float, bytes]]:
        broker = MemoryBroker(random.Random(seed))
        broker.faults.loss, broker.faults.duplicate, broker.faults.delay = 0.2, 0.2, (0.01, 0.5)
        one, two = broker.connect("controller-1"), broker.connect("controller-2")
        got: list[tuple[float, bytes]] = []
        start = elapsed()
        async with two.core.subscribe("mesh.leader") as heard:
            for number in range(100):
                await one.core.publish("mesh.leader", b"%d" % number)
            try:
                async with asyncio.timeout(60):
                    while True:
                        got.append((0.0, (await heard.next()).data))
                        got[-1] = (round(elapsed() - start, 6), got[-1][1])
            except TimeoutError:
                return got

    first, again, other = await trace(1), await trace(1), await trace(2)
    assert first == again
    assert first != other
    numbers = [int(data) for _, data in first]
    assert numbers == sorted(numbers), "two peers never overtake themselves"
    assert len(set(numbers)) < 100, "some are lost"
    assert len(numbers) > len(set(numbers)), "some come twice"


@virtual
async def test_random_commit_faults_follow_the_seed() -> None:
    async def outcomes(seed: int) -> list[str]:
        broker = MemoryBroker(random.Random(seed))
        broker.faults.busy, broker.faults.unknown = 0.2, 0.3
        bus = broker.connect("controller-1")
        return [type(await put(bus, "job.a")).__name__ for _ in range(100)]

    first = await outcomes(5)
    assert first == await outcomes(5)
    assert set(first) == {"Busy", "Unknown", "Committed"}


@virtual
async def test_unknown_that_is_stored_late_is_judged_then() -> None:
    broker = MemoryBroker()
    bus = broker.connect("controller-1")
    taken = await bus.state.commit([Put(EPOCH, b"", 0)])
    assert isinstance(taken, Committed)
    for fence in (Fence(taken.sequence), Fence(taken.sequence + 1)):
        broker.faults.next_commits.append("unknown-stored-late")
        assert isinstance(await bus.state.commit([Put(f"job.{fence.epoch}", b"late")], fence), Unknown)
        assert isinstance(await bus.state.commit([Put(f"job.{fence.epoch}", b"newer")]), Committed)
    await asyncio.sleep(LATE[1])
    found = [await bus.state.read(f"job.{epoch}") for epoch in (taken.sequence, taken.sequence + 1)]
    assert [entry.value for entry in found if entry is not None] == [b"late", b"newer"]


@virtual
async def test_every_commit_can_be_checked_as_the_server_judged_it() -> None:
    broker = MemoryBroker()
    bus = broker.connect("controller-1")
    seen: list[tuple[str, Outcome]] = []
    broker.state.on_commit = lambda user, _batch, _fence, outcome: seen.append((user, outcome))
    sent: list[Fence | None] = []
    broker.state.on_send = lambda _batch, fence: sent.append(fence)
    taken = await bus.state.commit([Put(EPOCH, b"", 0)])
    assert isinstance(taken, Committed)
    await bus.state.commit([Put("desired.n1", b"")], Fence(taken.sequence + 1))
    assert seen == [("controller-1", taken), ("controller-1", Fenced())]
    assert sent == [None, Fence(taken.sequence + 1)]


@virtual
async def test_every_message_can_be_noted_as_it_arrives() -> None:
    broker = MemoryBroker()
    one, two = broker.connect("controller-1"), broker.connect("controller-2")
    arrived: list[Packet] = []
    broker.wire.on_arrive = arrived.append
    async with two.core.subscribe("mesh.leader") as heard:
        await one.core.publish("mesh.leader", b"heard")
        await heard.next()
        assert [(each.sender, each.receiver, each.subject) for each in arrived] == [
            ("controller-1", "controller-2", "mesh.leader")
        ]
        broker.partition("controller-2")
        await one.core.publish("mesh.leader", b"lost")
        await asyncio.sleep(1)
    assert len(arrived) == 1


@virtual
async def test_a_reader_of_events_stands_still_while_it_is_cut_off_and_loses_nothing() -> None:
    broker = MemoryBroker()
    one, two = broker.connect("controller-1"), broker.connect("controller-2")
    async with one.events.read(From(after=0)) as reader:
        broker.partition("controller-1")
        for number in range(3):
            await two.events.append("mesh.event.a.b._._", b"%d" % number, f"{number}")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await reader.next()
        broker.heal("controller-1")
        assert [(await reader.next()).data for _ in range(3)] == [b"0", b"1", b"2"]


@virtual
async def test_faults_can_be_taken_back() -> None:
    broker = MemoryBroker()
    bus = broker.connect("controller-1")
    broker.faults.busy = 1.0
    broker.lose(">")
    assert isinstance(await put(bus, "job.a"), Busy)
    broker.faults.clear()
    async with bus.core.subscribe("mesh.leader") as heard:
        await bus.core.publish("mesh.leader", b"well")
        assert (await heard.next()).data == b"well"
    assert isinstance(await put(bus, "job.a"), Committed)
