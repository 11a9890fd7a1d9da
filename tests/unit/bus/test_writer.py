"""The group-committing writer, on the bus in memory and in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from bus.commits import BATCH_MESSAGES, Committed, Conflicted, Fence, Fenced, Outcome, Put, Unknown
from bus.memory import MemoryBroker
from bus.memory_faults import CommitFault
from bus.writer import Writer, split
from schemas.subjects import EPOCH
from tests.sim.loop import run


async def with_writer(broker: MemoryBroker, work, fence: Fence | None = None):
    bus = broker.connect("controller-1")
    writer = Writer(bus.state, fence)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(writer.run())
        result = await work(writer, bus)
        running.cancel()
    return result


async def submit_all(writer: Writer, count: int) -> list[Outcome]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(writer.submit([Put(f"job.{number}", b"x")])) for number in range(count)]
    return [task.result() for task in tasks]


def counting(broker: MemoryBroker) -> list[int]:
    sizes: list[int] = []
    broker.state.on_commit = lambda _user, batch, _fence, _outcome: sizes.append(len(batch))
    return sizes


def test_what_waits_goes_in_one_batch() -> None:
    broker = MemoryBroker()
    sizes = counting(broker)
    outcomes = run(with_writer(broker, lambda writer, _: submit_all(writer, 450)))
    assert all(isinstance(outcome, Committed) for outcome in outcomes)
    assert sum(sizes) == 450
    assert len(sizes) <= 4
    assert max(sizes) <= BATCH_MESSAGES


def test_one_wrong_expectation_does_not_hurt_the_others() -> None:
    async def work(writer: Writer, _bus):
        async with asyncio.TaskGroup() as group:
            good = group.create_task(writer.submit([Put("job.a", b"", 0)]))
            bad = group.create_task(writer.submit([Put("job.b", b"", 17)]))
            also = group.create_task(writer.submit([Put("job.c", b"", 0)]))
        return good.result(), bad.result(), also.result()

    good, bad, also = run(with_writer(MemoryBroker(), work))
    assert isinstance(good, Committed)
    assert isinstance(bad, Conflicted)
    assert isinstance(also, Committed)


def test_the_same_key_is_written_in_the_order_of_submission() -> None:
    async def work(writer: Writer, bus):
        async with asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(writer.submit([Put("job.a", b"%d" % number)]))
        return await bus.state.read("job.a")

    entry = run(with_writer(MemoryBroker(), work))
    assert entry.value == b"19"


def test_busy_is_tried_again() -> None:
    broker = MemoryBroker(random.Random(3))
    broker.faults.busy = 0.7
    outcomes = run(with_writer(broker, lambda writer, _: submit_all(writer, 50)))
    assert all(isinstance(outcome, Committed) for outcome in outcomes)


def test_unknown_is_told_to_all_of_the_group_and_not_tried_again() -> None:
    broker = MemoryBroker()
    sizes = counting(broker)
    broker.faults.next_commits.append("unknown-stored")
    outcomes = run(with_writer(broker, lambda writer, _: submit_all(writer, 3)))
    assert all(isinstance(outcome, Unknown) for outcome in outcomes)
    assert sizes == [3]


def test_a_writer_that_is_fenced_off_stores_nothing_any_more() -> None:
    async def work(writer: Writer, bus):
        first = await submit_all(writer, 3)
        await bus.state.commit([Put(EPOCH, b"again")])
        return first + await submit_all(writer, 2)

    broker = MemoryBroker()

    async def main():
        taken = await broker.connect("controller-1").state.commit([Put(EPOCH, b"", 0)])
        assert isinstance(taken, Committed)
        return await with_writer(broker, work, Fence(taken.sequence))

    outcomes = run(main())
    assert [type(outcome) for outcome in outcomes] == [Committed] * 3 + [Fenced] * 2


def test_more_than_a_batch_is_cut_in_its_order() -> None:
    writes = [Put(f"job.{number}", b"x" * 1000) for number in range(BATCH_MESSAGES * 2 + 1)]
    assert [len(part) for part in split(writes)] == [BATCH_MESSAGES, BATCH_MESSAGES, 1]
    assert [write for part in split(writes) for write in part] == writes
    large = [Put(f"job.{number}", b"x" * 1_000_000) for number in range(5)]
    assert [len(part) for part in split(large)] == [2, 2, 1]


def test_a_write_over_the_limits_is_refused_to_its_submitter_alone() -> None:
    async def work(writer: Writer, _bus):
        with pytest.raises(ValueError, match="bytes"):
            await writer.submit([Put("job.a", b"x" * (1024 * 1024 + 1))])
        return await writer.submit([Put("job.b", b"")])

    assert isinstance(run(with_writer(MemoryBroker(), work)), Committed)


def test_what_waits_when_the_writer_stops_is_unknown() -> None:
    async def main() -> Outcome:
        broker = MemoryBroker()
        broker.faults.delay = (1.0, 1.0)
        writer = Writer(broker.connect("controller-1").state)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(writer.run())
            waiting = group.create_task(writer.submit([Put("job.a", b"")]))
            await asyncio.sleep(0.5)
            running.cancel()
        return waiting.result()

    assert isinstance(run(main()), Unknown)


def test_a_submitter_that_gives_up_does_not_disturb_the_others() -> None:
    async def work(writer: Writer, bus):
        async with asyncio.TaskGroup() as group:
            leaving = group.create_task(writer.submit([Put("job.gone", b"")]))
            staying = group.create_task(writer.submit([Put("job.stays", b"")]))
            await asyncio.sleep(0)
            leaving.cancel()
        return staying.result()

    assert isinstance(run(with_writer(MemoryBroker(), work)), Committed)


RENEWAL = b"renewed by c1"


class Doubtful:
    """A leader's writer on a bus in memory, which keeps what the server judged: keys, and what came of them."""

    def __init__(self, broker: MemoryBroker, taken: int) -> None:
        self.bus = broker.connect("controller-1")
        self.broker = broker
        self.taken = taken
        self.writer = Writer(self.bus.state, Fence(taken), RENEWAL)
        self.judged: list[tuple[list[str], str]] = []
        broker.state.on_commit = lambda _user, batch, _fence, outcome: self.judged.append(
            ([write.key for write in batch], type(outcome).__name__)
        )

    async def write(self, value: bytes, *faults: CommitFault) -> Outcome:
        self.broker.faults.next_commits.extend(faults)
        return await self.writer.submit([Put("job.a", value)])

    async def epoch(self) -> tuple[int, bytes | None]:
        entry = await self.bus.state.read(EPOCH)
        assert entry is not None
        return entry.sequence, entry.value


def doubting(story: Callable[[Doubtful], Awaitable[None]]) -> None:
    async def main() -> None:
        broker = MemoryBroker(random.Random(5))
        taken = await broker.connect("controller-1").state.commit([Put(EPOCH, b"taken", 0)])
        assert isinstance(taken, Committed)
        doubtful = Doubtful(broker, taken.sequence)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(doubtful.writer.run())
            await story(doubtful)
            running.cancel()

    run(main())


@pytest.mark.parametrize("fault", ["unknown-stored", "unknown-not-stored", "unknown-stored-late"])
def test_after_an_unknown_outcome_the_fence_is_renewed_before_anything_else_is_stored(fault: CommitFault) -> None:
    async def story(doubtful: Doubtful) -> None:
        assert isinstance(await doubtful.write(b"old", fault), Unknown)
        assert isinstance(await doubtful.write(b"new"), Committed)
        renewed, value = await doubtful.epoch()
        assert value == RENEWAL
        assert renewed > doubtful.taken
        await asyncio.sleep(5)
        entry = await doubtful.bus.state.read("job.a")
        assert entry is not None
        assert entry.value == b"new", "what is stored late is refused by the fence that it was sent under"
        late = [(["job.a"], "Fenced")] if fault == "unknown-stored-late" else []
        first = [(["job.a"], "Committed")] if fault == "unknown-stored" else []
        assert doubtful.judged == [*first, ([EPOCH], "Committed"), (["job.a"], "Committed"), *late]
        assert isinstance(await doubtful.write(b"newer"), Committed)
        assert await doubtful.epoch() == (renewed, RENEWAL), "it is renewed once"

    doubting(story)


@pytest.mark.parametrize("fault", ["unknown-stored", "unknown-not-stored", "unknown-stored-late"])
def test_a_renewal_of_unknown_outcome_is_settled_before_anything_else_is_stored(fault: CommitFault) -> None:
    async def story(doubtful: Doubtful) -> None:
        await doubtful.write(b"old", "unknown-stored-late", fault)
        assert isinstance(await doubtful.write(b"new"), Unknown)
        assert not any(keys == ["job.a"] for keys, _ in doubtful.judged)
        assert isinstance(await doubtful.write(b"new"), Committed)
        await asyncio.sleep(5)
        renewals = [outcome for keys, outcome in doubtful.judged if keys == [EPOCH]]
        assert renewals.count("Committed") == 1
        entry = await doubtful.bus.state.read("job.a")
        assert entry is not None
        assert entry.value == b"new"
        assert isinstance(await doubtful.write(b"newer"), Committed), "the fence is that of the renewal that was stored"

    doubting(story)


def test_a_fence_is_renewed_time_and_again() -> None:
    async def story(doubtful: Doubtful) -> None:
        fences = [doubtful.taken]
        for number in range(3):
            assert isinstance(await doubtful.write(b"old", "unknown-not-stored"), Unknown)
            assert isinstance(await doubtful.write(b"%d" % number), Committed)
            fences.append((await doubtful.epoch())[0])
        assert fences == sorted(set(fences))

    doubting(story)


@pytest.mark.parametrize("value", [b"taken by c2", b"taken"])
def test_who_was_deposed_while_an_outcome_was_unknown_renews_nothing(value: bytes) -> None:
    async def story(doubtful: Doubtful) -> None:
        await doubtful.write(b"old", "unknown-not-stored")
        await doubtful.bus.state.commit([Put(EPOCH, value)])
        assert isinstance(await doubtful.write(b"new"), Fenced)
        assert (await doubtful.epoch())[1] == value
        assert isinstance(await doubtful.write(b"newer"), Fenced)
        assert await doubtful.bus.state.read("job.a") is None

    doubting(story)


def test_the_renewal_of_an_older_store_is_not_ours_to_go_on_from() -> None:
    """The store was rolled back to between two renewals."""

    async def story(doubtful: Doubtful) -> None:
        await doubtful.write(b"1", "unknown-not-stored")
        await doubtful.write(b"2")
        older = doubtful.broker.checkpoint()
        await doubtful.write(b"3", "unknown-not-stored")
        await doubtful.write(b"4")
        await doubtful.write(b"5", "unknown-not-stored")
        doubtful.broker.roll_back(older)
        assert (await doubtful.epoch())[1] == RENEWAL
        assert isinstance(await doubtful.write(b"6"), Fenced)

    doubting(story)


def test_a_writer_without_a_fence_or_a_renewal_goes_on_after_an_unknown_outcome() -> None:
    async def work(writer: Writer, bus):
        await writer.submit([Put("job.a", b"")])
        outcome = await writer.submit([Put("job.b", b"")])
        return outcome, await bus.state.read(EPOCH)

    broker = MemoryBroker()
    broker.faults.next_commits.append("unknown-stored")
    outcome, epoch = run(with_writer(broker, work))
    assert isinstance(outcome, Committed)
    assert epoch is None
