"""Events are kept until they are acknowledged, and told at least once."""

from __future__ import annotations

import asyncio
import random

import pytest

from agent.files import MemoryFiles
from agent.journal import FILE, Journal
from agent.local import LocalTask
from agent.telling import event_id, told_by
from bus.memory import LoopClock, MemoryBroker
from bus.port import From
from schemas.events import BATCH_LIMIT, JOURNAL_LIMIT, Event, EventBatch
from schemas.wire import decode, encode
from tests.sim.loop import run

USER = "agent-n1"


def event(number: int) -> Event:
    return Event(id=f"e{number}", kind="task.started", at="2026-11-23T00:00:00.000Z", node="n1")


class Scene:
    def __init__(self) -> None:
        self.broker = MemoryBroker(random.Random(1))
        self.files = MemoryFiles()
        self.bus = self.broker.connect(USER)

    async def journal(self) -> Journal:
        journal = Journal("n1", self.files, self.bus.events, LoopClock())
        await journal.load()
        return journal

    async def batches(self) -> list[EventBatch]:
        found: list[EventBatch] = []
        async with self.broker.connect("controller-1").events.read(From(after=0)) as reader:
            try:
                async with asyncio.timeout(1):
                    while True:
                        found.append(decode((await reader.next()).data, EventBatch))
            except TimeoutError:
                return found


def test_batches_hold_at_most_two_hundred_in_order() -> None:
    async def main() -> None:
        scene = Scene()
        journal = await scene.journal()
        for number in range(450):
            journal.add(event(number))
        while len(journal):
            assert await journal.send()
        batches = await scene.batches()
        assert [len(batch.events) for batch in batches] == [BATCH_LIMIT, BATCH_LIMIT, 50]
        assert [one.id for batch in batches for one in batch.events] == [f"e{n}" for n in range(450)]

    run(main())


def test_what_was_not_acknowledged_is_sent_by_the_next_process() -> None:
    async def main() -> None:
        scene = Scene()
        journal = await scene.journal()
        scene.broker.disconnect(USER)
        for number in range(3):
            journal.add(event(number))
        await journal.persist()
        assert not await journal.send()
        scene.broker.reconnect(USER)
        again = await scene.journal()
        assert await again.send()
        assert [one.id for batch in await scene.batches() for one in batch.events] == ["e0", "e1", "e2"]
        assert FILE not in scene.files.content

    run(main())


def test_the_oldest_are_dropped_and_one_event_says_how_many() -> None:
    async def main() -> None:
        scene = Scene()
        journal = await scene.journal()
        for number in range(JOURNAL_LIMIT + 7):
            journal.add(event(number))
        assert len(journal) == JOURNAL_LIMIT
        await journal.send()
        first, second = (await scene.batches())[0].events[:2]
        assert (first.kind, first.data) == ("events.dropped", {"count": 7})
        assert second.id == "e7"

    run(main())


def test_a_line_that_makes_no_sense_is_skipped() -> None:
    async def main() -> None:
        scene = Scene()
        scene.files.content[FILE] = b'garbage\n{"id":"e1","kind":"task.started","at":"x"}\n{"half'
        journal = await scene.journal()
        assert len(journal) == 1

    run(main())


def test_a_disk_that_refuses_does_not_stop_the_telling() -> None:
    class Full(MemoryFiles):
        async def append(self, name: str, data: bytes, *, durable: bool = True) -> None:
            raise OSError("no space left on device")

    async def main() -> None:
        scene = Scene()
        scene.files = Full()
        journal = await scene.journal()
        journal.add(event(1))
        await journal.persist()
        assert await journal.send()
        assert len(await scene.batches()) == 1

    run(main())


class Narrow(MemoryFiles):
    """A disk with room for so many bytes more; an append takes what fits, and fails."""

    room = 0

    async def append(self, name: str, data: bytes, *, durable: bool = True) -> None:
        await super().append(name, data[: self.room], durable=durable)
        if len(data) > self.room:
            self.room = 0
            raise OSError("no space left on device")
        self.room -= len(data)


@pytest.mark.parametrize("room", [0, 10, 100, 200])
def test_what_a_disk_refused_is_saved_once_there_is_room(room: int) -> None:
    async def main() -> None:
        scene = Scene()
        scene.files = files = Narrow()
        scene.broker.disconnect(USER)
        journal = await scene.journal()
        for number in range(3):
            journal.add(event(number))
        files.room = room
        await journal.persist()
        assert not await journal.send()
        files.room = 10_000
        journal.add(event(3))
        await journal.persist()
        scene.broker.reconnect(USER)
        again = await scene.journal()
        assert await again.send()
        assert [one.id for batch in await scene.batches() for one in batch.events] == ["e0", "e1", "e2", "e3"]

    run(main())


def test_what_was_told_meanwhile_is_not_saved_any_more() -> None:
    async def main() -> None:
        scene = Scene()
        scene.files = files = Narrow()
        journal = await scene.journal()
        journal.add(event(0))
        await journal.persist()
        assert await journal.send()
        files.room = 10_000
        journal.add(event(1))
        await journal.persist()
        assert b"e0" not in files.content[FILE]

    run(main())


def test_a_line_that_a_power_cut_has_torn_spoils_only_itself() -> None:
    async def main() -> None:
        scene = Scene()
        scene.files.content[FILE] = encode(event(0)) + b'\n{"id":"e1","ki'
        journal = await scene.journal()
        journal.add(event(2))
        await journal.persist()
        assert len(await scene.journal()) == 2

    run(main())


def test_the_same_transition_has_the_same_id_and_each_flap_of_health_its_own() -> None:
    before = LocalTask(
        id="1-1", service="web", slot="1", state="running", container="c", started=True, health="healthy"
    )
    sick = LocalTask(
        id="1-1", service="web", slot="1", state="stopping", container="c", started=True, health="unhealthy", flaps=3
    )
    assert told_by(before, sick) == ("task.unhealthy", "task.stopping")
    assert event_id(sick, "task.unhealthy") == "1-1-unhealthy-3"
    assert event_id(sick, "task.stopping") == "1-1-stopping"


def test_a_task_that_ran_and_ended_between_two_looks_is_told_in_full() -> None:
    before = LocalTask(id="1-1", service="web", slot="1", state="starting", container="c")
    after = LocalTask(
        id="1-1", service="web", slot="1", state="failed", container="c", started=True, exit_code=137, oom_killed=True
    )
    assert told_by(before, after) == ("task.started", "task.oom", "task.failed")
