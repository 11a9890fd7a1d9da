"""Stores, told of both adapters: compare-and-set, fence, batches, reads, snapshots."""

from __future__ import annotations

import asyncio

import pytest

from bus.commits import BATCH_MESSAGES, Committed, Conflicted, Delete, Fence, Fenced, Put
from bus.port import Bus
from schemas.errors import Refused
from schemas.subjects import EPOCH


async def stored(bus: Bus, key: str, value: bytes = b"{}", expected: int | None = None) -> int:
    outcome = await bus.state.commit([Put(key, value, expected)])
    assert isinstance(outcome, Committed), outcome
    return outcome.sequence


async def take_over(bus: Bus) -> Fence:
    last = await bus.state.read(EPOCH)
    return Fence(await stored(bus, EPOCH, b"{}", last.sequence if last else 0))


async def test_what_is_stored_can_be_read_with_its_sequence(mesh) -> None:
    async with mesh.connect("controller-1") as bus:
        sequence = await stored(bus, "service.web", b"content")
        entry = await bus.state.read("service.web")
        assert entry is not None
        assert (entry.key, entry.value, entry.sequence) == ("service.web", b"content", sequence)
        assert entry.at > 1_600_000_000
        assert await bus.state.read_near("service.web") == entry
        assert await bus.state.read("service.db") is None
        assert await bus.state.read_near("service.db") is None


async def test_compare_and_set_takes_one_of_two(mesh) -> None:
    async with mesh.connect("controller-1") as one, mesh.connect("controller-2") as two:
        first = await stored(one, "service.web", b"1", expected=0)
        assert isinstance(await two.state.commit([Put("service.web", b"2", expected=0)]), Conflicted)
        await stored(two, "service.web", b"3", expected=first)
        assert isinstance(await one.state.commit([Delete("service.web", expected=first)]), Conflicted)
        entry = await one.state.read("service.web")
        assert entry is not None
        assert entry.value == b"3"


async def test_a_deleted_key_is_a_tombstone_with_a_sequence(mesh) -> None:
    async with mesh.connect("controller-1") as bus:
        await stored(bus, "service.web")
        outcome = await bus.state.commit([Delete("service.web")])
        assert isinstance(outcome, Committed)
        entry = await bus.state.read("service.web")
        assert entry is not None
        assert (entry.value, entry.sequence) == (None, outcome.sequence)
        assert isinstance(await bus.state.commit([Put("service.web", b"", expected=0)]), Conflicted)
        await stored(bus, "service.web", b"again", expected=outcome.sequence)


async def test_a_batch_is_stored_whole_in_its_order(mesh) -> None:
    async with mesh.connect("controller-1") as bus:
        outcome = await bus.state.commit([Put("service.a", b"1"), Delete("service.b"), Put("service.c", b"3")])
        assert isinstance(outcome, Committed)
        assert outcome.sequence == outcome.first + 2
        entries = [await bus.state.read(f"service.{name}") for name in "abc"]
        assert [entry and (entry.sequence - outcome.first, entry.value) for entry in entries] == [
            (0, b"1"),
            (1, None),
            (2, b"3"),
        ]


async def test_a_batch_with_one_wrong_expectation_stores_nothing(mesh) -> None:
    async with mesh.connect("controller-1") as bus:
        last = await stored(bus, "service.b")
        batch = [Put("service.a", b"", expected=0), Put("service.b", b"", expected=last + 5), Put("service.c", b"")]
        assert isinstance(await bus.state.commit(batch), Conflicted)
        assert (await bus.state.info()).last == last


async def test_a_full_batch_is_stored(mesh) -> None:
    async with mesh.connect("controller-1") as bus:
        fence = await take_over(bus)
        outcome = await bus.state.commit([Put(f"desired.n{i}", b"x" * 5000) for i in range(BATCH_MESSAGES)], fence)
        assert isinstance(outcome, Committed)
        assert outcome.sequence - outcome.first == BATCH_MESSAGES - 1
        assert len((await bus.state.snapshot()).entries) == BATCH_MESSAGES + 2


@pytest.mark.parametrize(
    "batch",
    [
        [],
        [Put("a", b""), Put("a", b"")],
        [Put(f"a.{i}", b"") for i in range(BATCH_MESSAGES + 1)],
        [Put("a", b"x" * 700_000), Put("b", b"x" * 700_000), Put("c", b"x" * 700_000), Put("d", b"")],
        [Put("a", b"x" * (1024 * 1024 + 1))],
        [Put("a b", b"")],
        [Put("a.*", b"")],
        [Put("", b"")],
    ],
    ids=["empty", "a key twice", "too many", "too large", "one too large", "space", "wildcard", "no key"],
)
async def test_a_batch_that_can_not_be_meant_is_refused(mesh, batch: list[Put]) -> None:
    async with mesh.connect("controller-1") as bus:
        with pytest.raises(ValueError, match=r"batch|key|bytes"):
            await bus.state.commit(batch)


async def test_a_deposed_leader_has_its_writes_refused(mesh) -> None:
    async with mesh.connect("controller-1") as old, mesh.connect("controller-2") as new:
        fence = await take_over(old)
        assert isinstance(await old.state.commit([Put("desired.n1", b"old")], fence), Committed)
        later = await take_over(new)
        assert isinstance(await new.state.commit([Put("desired.n1", b"new")], later), Committed)
        for batch in (
            [Put("desired.n1", b"late")],
            [Delete("desired.n1")],
            [Put("desired.n2", b"late"), Put("desired.n1", b"late")],
            [Put("desired.n2", b"late", expected=0)],
            [Put("desired.n1", b"late", expected=0), Put("desired.n2", b"late")],
        ):
            assert isinstance(await old.state.commit(batch, fence), Fenced)
        entry = await new.state.read("desired.n1")
        assert entry is not None
        assert entry.value == b"new"
        assert await new.state.read("desired.n2") is None


async def test_a_fence_and_a_comparison_are_told_apart(mesh) -> None:
    async with mesh.connect("controller-1") as bus:
        fence = await take_over(bus)
        await stored(bus, "job.a")
        for batch in (
            [Put("job.a", b"", expected=0)],
            [Put("job.b", b""), Put("job.a", b"", expected=0)],
            [Put("job.a", b"", expected=0), Put("job.b", b"")],
        ):
            assert isinstance(await bus.state.commit(batch, fence), Conflicted)
        assert isinstance(await bus.state.commit([Put("job.b", b"", expected=0)], fence), Committed)
        assert isinstance(await bus.state.commit([Put("job.c", b"", 0), Put("job.d", b"", 0)], fence), Committed)


async def test_a_leader_hands_over_fenced(mesh) -> None:
    async with mesh.connect("controller-1") as bus:
        fence = await take_over(bus)
        assert isinstance(await bus.state.commit([Put(EPOCH, b"nobody", fence.epoch)], fence), Committed)
        assert isinstance(await bus.state.commit([Put("desired.n1", b"")], fence), Fenced)


async def test_a_snapshot_shows_all_that_lives(mesh) -> None:
    async with mesh.connect("controller-1") as bus:
        for number in range(30):
            await stored(bus, f"service.s{number % 20}", b"%d" % number)
        await bus.state.commit([Delete("service.s3")])
        snapshot = await bus.state.snapshot()
        assert snapshot.sequence == (await bus.state.info()).last
        values = {entry.key: entry.value for entry in snapshot.entries}
        wanted = {f"service.s{n}": b"%d" % (n + 20 if n < 10 else n) for n in range(20) if n != 3}
        assert {key: value for key, value in values.items() if key != "mesh"} == wanted
        assert [entry.sequence for entry in snapshot.entries] == sorted(entry.sequence for entry in snapshot.entries)


async def test_a_snapshot_of_nothing_is_empty(mesh) -> None:
    async with mesh.connect("controller-1") as bus:
        snapshot = await bus.observed.snapshot()
        assert (snapshot.entries, snapshot.sequence) == ((), 0)


async def test_the_mesh_record_is_the_first_entry(mesh) -> None:
    async with mesh.connect("controller-1") as bus:
        info = await bus.state.info()
        assert (info.first, info.last) == (1, 1)
        entry = await bus.state.read("mesh")
        assert entry is not None
        assert b'"m1"' in (entry.value or b"")


async def test_an_agent_stores_its_observation_and_reads_its_assignment(mesh) -> None:
    async with mesh.connect("controller-1") as bus, mesh.connect("agent-n1") as agent:
        assert isinstance(await agent.observed.commit([Put("n1", b"seen")]), Committed)
        assert isinstance(await agent.observed.commit([Put("n1", b"seen again")]), Committed)
        entry = await bus.observed.read("n1")
        assert entry is not None
        assert entry.value == b"seen again"
        assert await agent.state.read_near("desired.n1") is None
        await stored(bus, "desired.n1", b"do")
        found = await agent.state.read_near("desired.n1")
        assert found is not None
        assert found.value == b"do"


async def test_an_agent_is_told_no_where_the_store_is_not_its_own(mesh) -> None:
    async with mesh.connect("agent-n1") as agent:
        with pytest.raises(Refused):
            await agent.observed.commit([Put("n2", b"lies")])
        with pytest.raises(Refused):
            await agent.state.commit([Put("desired.n1", b"lies")])
        for reading in (agent.state.read("desired.n1"), agent.state.read_near("desired.n2"), agent.state.snapshot()):
            with pytest.raises(Refused):
                await reading
        with pytest.raises(Refused):
            agent.state.watch()
        with pytest.raises(Refused):
            agent.observed.watch("n2")


async def test_the_store_tells_its_own_time(mesh) -> None:
    async with mesh.connect("controller-1") as bus:
        made = await stored(bus, "job.a", b"")
        entry = await bus.state.read("job.a")
        assert entry is not None
        first = (await bus.state.info()).now
        await asyncio.sleep(0.02)
        second = (await bus.state.info()).now
        assert entry.at <= first < second < entry.at + 60
        assert made
