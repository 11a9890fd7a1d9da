"""A mirror of observations knows when it is behind: what it missed did not come, or its store does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from bus.commits import Put
from bus.memory import MemoryBroker
from bus.memory_faults import Rule
from controller.follower import ANSWER_WITHIN, COMPARE_EVERY, RETRY
from controller.mirror import Mirror
from schemas.observation import Observation
from schemas.wire import encode
from tests.sim.loop import run
from tests.sim.world import silence_logs

USER = "controller-c1"


@pytest.fixture(autouse=True)
def quiet() -> None:
    silence_logs()


@asynccontextmanager
async def following(broker: MemoryBroker) -> AsyncIterator[Mirror]:
    """A mirror that has caught up."""
    broker.state.commit("operator", (Put("mesh", b'{"mesh_id":"m"}'),), None)
    mirror = Mirror(broker.connect(USER))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(mirror.run())
        await asyncio.sleep(0.5)
        assert mirror.unseen_since is None
        yield mirror
        task.cancel()


def tell(broker: MemoryBroker, counter: int) -> None:
    observation = Observation(node="n1", instance="i", boot="b", counter=counter)
    broker.observed.commit("agent-n1", (Put("n1", encode(observation)),), None)


def lost(broker: MemoryBroker) -> Rule:
    return broker.faults.add(Rule(subject="mesh.observed.>", receiver=USER))


async def until(holds: Callable[[], bool], within: float) -> float:
    """The seconds that it takes."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    while not holds():
        assert loop.time() - started <= within
        await asyncio.sleep(0.001)
    return loop.time() - started


def test_what_was_lost_is_missing_for_as_long_as_replicas_show_the_past() -> None:
    async def story() -> None:
        broker = MemoryBroker()
        async with following(broker) as mirror:
            tell(broker, 1)
            tell(broker, 2)
            rule = lost(broker)
            tell(broker, 3)
            tell(broker, 4)
            broker.faults.remove(rule)
            broker.faults.snapshot_lag = 1
            await until(lambda: mirror.unseen_since is not None, 2 * COMPARE_EVERY)
            since = mirror.unseen_since
            for _ in range(80):
                await asyncio.sleep(0.1)
                assert mirror.unseen_since == since
            assert mirror.observations["n1"].counter == 3, "one of them came, and it knows that this is not all"
            broker.faults.snapshot_lag = 0
            await until(lambda: mirror.unseen_since is None, 2 * COMPARE_EVERY + RETRY)
            assert mirror.observations["n1"].counter == 4

    run(story())


def test_a_gap_that_is_closed_at_once_leaves_nothing_missing() -> None:
    async def story() -> None:
        broker = MemoryBroker()
        broker.faults.delay = (0.005, 0.005)
        async with following(broker) as mirror:
            rule = lost(broker)
            tell(broker, 1)
            broker.faults.remove(rule)
            tell(broker, 2)
            await until(lambda: mirror.unseen_since is not None, 1)
            assert await until(lambda: mirror.unseen_since is None, 1) <= 0.1
            assert mirror.observations["n1"].counter == 2

    run(story())


def test_a_store_that_does_not_say_how_far_it_goes_may_have_more_than_was_seen() -> None:
    async def story() -> None:
        broker = MemoryBroker()
        async with following(broker) as mirror:
            silent = asyncio.get_running_loop().time() + 8
            broker.observed.leaderless, broker.observed.paused_until = True, silent
            await until(lambda: mirror.unseen_since is not None, COMPARE_EVERY + ANSWER_WITHIN + 0.1)
            while asyncio.get_running_loop().time() < silent - 0.1:
                await asyncio.sleep(0.1)
                assert mirror.unseen_since is not None
            await until(lambda: mirror.unseen_since is None, COMPARE_EVERY + ANSWER_WITHIN + 0.2)

    run(story())


def test_an_answer_that_takes_too_long_is_none() -> None:
    async def story() -> None:
        broker = MemoryBroker()
        async with following(broker) as mirror:
            broker.faults.delay = (3.0, 3.0)
            await until(lambda: mirror.unseen_since is not None, COMPARE_EVERY + ANSWER_WITHIN + 0.1)

    run(story())


def test_what_a_snapshot_did_not_show_may_still_come_by_itself() -> None:
    async def story() -> None:
        broker = MemoryBroker()
        async with following(broker) as mirror:
            late = broker.faults.add(Rule(subject="mesh.observed.>", receiver=USER, fate="hold"))
            tell(broker, 1)
            tell(broker, 2)
            broker.faults.snapshot_lag = 1
            await mirror.observed.resync("a look")
            assert mirror.unseen_since is not None
            broker.faults.remove(late)
            broker.release()
            await until(lambda: mirror.unseen_since is None, 0.1)
            assert mirror.observations["n1"].counter == 2

    run(story())


def test_it_is_whole_though_the_store_is_always_a_little_ahead() -> None:
    """What was stored just now is on its way: that is not missing."""

    async def story() -> None:
        broker = MemoryBroker()
        async with following(broker) as mirror:
            broker.faults.delay = (0.01, 0.3)
            for counter in range(1, 300):
                tell(broker, counter)
                await asyncio.sleep(0.05)
                assert mirror.unseen_since is None

    run(story())


def test_state_that_is_missing_counts_as_observations_do() -> None:
    """What people want may have changed: a drain taken back, an order withdrawn."""

    async def story() -> None:
        broker = MemoryBroker()
        async with following(broker) as mirror:
            broker.state.leaderless, broker.state.paused_until = True, asyncio.get_running_loop().time() + 8
            await asyncio.sleep(6)
            assert mirror.observed.whole.behind_since is None
            assert mirror.unseen_since is not None
            await asyncio.sleep(6)
            assert mirror.unseen_since is None

    run(story())
