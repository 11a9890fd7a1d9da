"""What becomes of a controller that is deposed while much happens at once: in virtual time on the bus in memory."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from bus.memory import LoopClock, MemoryBroker
from controller import election as rules
from controller.elector import Elector, Fenced
from controller.highest import ForgetfulMemory
from controller.mirror import Mirror
from controller.standing import Office
from tests.sim.loop import run

ENDING = 0.5
"""Seconds that a part of the reign takes to end."""


class Reign:
    """As a leader's: parts in a group, of which one is told that another leads, and one takes its time to end."""

    def __init__(self) -> None:
        self.begun = 0
        self.refused = asyncio.Event()
        self.ending = asyncio.Event()

    async def __call__(self, epoch: int) -> None:
        self.begun += 1
        deposed = False
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._write())
                group.create_task(self._end_slowly())
        except* Fenced:
            deposed = True
        if deposed:
            raise Fenced

    async def _write(self) -> None:
        await self.refused.wait()
        self.refused.clear()
        raise Fenced

    async def _end_slowly(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.ending.set()
            await asyncio.sleep(ENDING)


async def in_office(story: Callable[[Reign, Elector, asyncio.Task[None]], Awaitable[None]]) -> None:
    """Tell the story of a controller that leads."""
    broker = MemoryBroker(random.Random(7), mesh_id="m1")
    bus = broker.connect("controller-x")
    reign, mirror = Reign(), Mirror(bus)
    office = Office("x", bus, mirror, LoopClock(), random.Random(1), ForgetfulMemory())
    elector = Elector(office, reign)
    async with asyncio.TaskGroup() as group:
        mirroring = group.create_task(mirror.run())
        running = group.create_task(elector.run())
        await until(lambda: reign.begun == 1)
        await story(reign, elector, running)
        mirroring.cancel()
        running.cancel()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.01)


def test_a_leader_that_hears_of_another_while_its_reign_ends_stands_again() -> None:
    async def story(reign: Reign, elector: Elector, _: asyncio.Task[None]) -> None:
        reign.refused.set()
        await reign.ending.wait()
        elector._feed(rules.Deposed())
        await until(lambda: reign.begun == 2)

    run(in_office(story))


def test_a_controller_that_is_to_end_at_the_moment_of_its_deposition_ends() -> None:
    async def story(reign: Reign, elector: Elector, running: asyncio.Task[None]) -> None:
        elector._feed(rules.Deposed())
        await reign.ending.wait()
        running.cancel()
        await asyncio.wait([running], timeout=20)
        assert running.cancelled()

    run(in_office(story))
