"""What the mesh goes by of a node is in the end what runs there, in whatever order its observations were stored."""

from __future__ import annotations

import asyncio
import random
from typing import cast

import msgspec
import pytest

from agent.files import MemoryFiles
from agent.journal import Journal
from agent.leadership import Leadership
from agent.ledger import Ledger
from agent.membership import Membership
from agent.observing import Observer
from bus.commits import Put
from bus.memory import LoopClock, MemoryBroker
from schemas.observation import Observation, ObservedTask
from schemas.wire import decode, encode
from tests.sim.loop import run
from tests.sim.test_world import deploy, service
from tests.sim.world import World, in_world, silence_logs


@pytest.fixture(autouse=True)
def quiet() -> None:
    silence_logs()


def stored(world: World, node: str) -> Observation:
    value = world.broker.observed.existing().entries[node].value
    assert value is not None
    return decode(value, Observation)


def test_what_may_be_stored_late_is_written_over_though_all_is_as_it_was() -> None:
    """A task came and went while the store took no writes."""

    async def story() -> None:
        broker, files = MemoryBroker(random.Random(1)), MemoryFiles()
        bus, clock, chance = broker.connect("agent-n1"), LoopClock(), random.Random(1)
        ledger = Ledger(files, Journal("n1", files, bus.events, clock))
        tasks: list[ObservedTask] = []

        def compose(counter: int) -> Observation:
            return Observation(node="n1", instance="i", boot="b", counter=counter, tasks=tuple(tasks))

        observer = Observer(
            bus.observed, files, ledger, cast("Membership", None), Leadership(clock), clock, chance, compose=compose
        )
        assert await observer.write()
        broker.pause_writes(2.8, late=True)
        tasks.append(ObservedTask(id="1-1", service="web", slot="1", revision=1, spec="s", state="new"))
        assert not await observer.write()
        tasks.clear()
        await observer.write()
        await asyncio.sleep(2)
        value = broker.observed.existing().entries["n1"].value
        assert value is not None
        assert decode(value, Observation).counter > 2
        assert not decode(value, Observation).tasks

    run(story())


def test_one_that_lies_over_a_newer_one_is_written_over() -> None:
    """It was held up in a server that stalled, and came behind what was told by another one."""

    async def story(world: World) -> None:
        await deploy(world, service("shop_web", replicas=3))
        await world.until(lambda: len(world.running("shop_web")) == 3, 30, "three run")
        await asyncio.sleep(5)
        now = stored(world, "n1")
        assert now.tasks
        late = msgspec.structs.replace(now, counter=now.counter - 1, tasks=())
        world.broker.observed.commit("agent-n1", [Put("n1", encode(late))], None)
        assert not stored(world, "n1").tasks
        await world.until(lambda: stored(world, "n1").tasks == now.tasks, 3, "its agent hears of it")
        assert stored(world, "n1").counter > now.counter

    run(in_world(4, story))
