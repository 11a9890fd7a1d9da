"""A node whose clock is wrong says so once, and once more when it is right again."""

from __future__ import annotations

import asyncio
import random

import pytest

from agent.files import MemoryFiles
from agent.journal import Journal
from agent.telling import Teller
from agent.wall_clock import WallClock
from bus.memory import LoopClock, MemoryBroker
from bus.port import From
from schemas.events import EventBatch
from schemas.liveness import HeartbeatAnswer
from schemas.wire import decode
from tests.sim.loop import run


def told(*offsets: float) -> list[tuple[str, int | None]]:
    """What is told when a node's clock is ahead of the leader's by these seconds, one answer after another."""

    async def main() -> list[tuple[str, int | None]]:
        broker, clock = MemoryBroker(random.Random(1)), LoopClock()
        journal = Journal("n1", MemoryFiles(), broker.connect("agent-n1").events, clock)
        await journal.load()
        wall = WallClock(Teller("n1", journal, clock), clock)
        for ahead in offsets:
            wall.heard(HeartbeatAnswer(count=1, epoch=1, generation=1, wall=clock.wall() - ahead))
        await journal.send()
        return await read(broker)

    return run(main())


async def read(broker: MemoryBroker) -> list[tuple[str, int | None]]:
    found: list[tuple[str, int | None]] = []
    async with broker.connect("controller-1").events.read(From(after=0)) as reader:
        try:
            async with asyncio.timeout(1):
                while True:
                    batch = decode((await reader.next()).data, EventBatch)
                    found.extend((event.kind, event.data.get("seconds")) for event in batch.events)
        except TimeoutError:
            return found


@pytest.mark.parametrize(
    ("offsets", "events"),
    [
        ((0.0, 2.0, -2.0), []),
        ((3600.0, 3601.0, 3595.0), [("node.clock_off", 3600)]),
        ((-3600.0,), [("node.clock_off", -3600)]),
        ((3600.0, 0.5, 0.0), [("node.clock_off", 3600), ("node.clock_right", None)]),
        ((3600.0, 7200.0), [("node.clock_off", 3600), ("node.clock_off", 7200)]),
        ((11.0, 9.0), [("node.clock_off", 11), ("node.clock_right", None)]),
    ],
)
def test_an_offset_is_told_when_it_begins_changes_and_ends(
    offsets: tuple[float, ...], events: list[tuple[str, int | None]]
) -> None:
    assert told(*offsets) == events
