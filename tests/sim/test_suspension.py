"""Processes that are stopped: nothing of theirs runs, and the fence and the lease hold when they wake up."""

from __future__ import annotations

import asyncio

import pytest

from tests.sim.invariants import Watchman
from tests.sim.loop import SimLoop, run
from tests.sim.suspension import context_of
from tests.sim.test_world import deploy, service, slots
from tests.sim.world import World, in_world, silence_logs


@pytest.fixture(autouse=True)
def quiet() -> None:
    silence_logs()


@pytest.mark.parametrize("timers_first", [True, False])
def test_a_stopped_process_does_nothing_and_then_all_at_once(timers_first: bool) -> None:
    done: list[tuple[str, float]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimLoop)
        begun = loop.time()
        heard = asyncio.Event()

        async def tick(name: str) -> None:
            for _ in range(3):
                await asyncio.sleep(1)
                done.append((name, loop.time() - begun))

        async def hear() -> None:
            await heard.wait()
            done.append(("heard", loop.time() - begun))

        async with asyncio.TaskGroup() as group:
            group.create_task(tick("stopped"), context=context_of("one"))
            group.create_task(hear(), context=context_of("one"))
            group.create_task(tick("other"), context=context_of("two"))
            await asyncio.sleep(0.5)
            loop.stop_process("one")
            heard.set()
            await asyncio.sleep(10)
            loop.continue_process("one", timers_first=timers_first)

    run(main())
    assert [at for name, at in done if name == "other"] == [1, 2, 3]
    assert [at for name, at in done if name == "stopped"] == [10.5, 11.5, 12.5]
    assert [name for name, at in done if at == 10.5] == (["stopped", "heard"] if timers_first else ["heard", "stopped"])


def test_a_leader_that_was_stopped_wakes_up_and_changes_nothing() -> None:
    async def story(world: World) -> None:
        watchman = Watchman(world)
        await deploy(world, service("shop_web", replicas=4))
        await world.until(lambda: world.running("shop_web") == slots(4), 30, "four slots run")
        old = world.leader()
        watchman.violations.clear()
        world.stop_controller(old)
        others = [each for name, each in world.controllers.items() if name != old]
        await world.until(lambda: any(each.leads for each in others), 10, "another one leads")
        await deploy(world, service("shop_web", replicas=6))
        await asyncio.sleep(30)
        assert world.controllers[old].leads, "it has noticed nothing"
        world.continue_controller(old, timers_first=True)
        await world.until(lambda: not world.controllers[old].leads, 5, "it notices")
        await asyncio.sleep(5)
        assert world.running("shop_web") == slots(6)
        watchman.raise_if_any()

    run(in_world(41, story))


def test_an_agent_that_was_stopped_goes_on_and_ends_what_was_replaced() -> None:
    async def story(world: World) -> None:
        await deploy(world, service("shop_web", replicas=6))
        await world.until(lambda: world.running("shop_web") == slots(6), 30, "six slots run")
        world.stop_agent("n1")
        took = await world.until(lambda: len(world.running("shop_web")) == 8, 30, "replacements run elsewhere")
        assert took < 10
        await asyncio.sleep(20)
        assert len(world.nodes["n1"].live()) == 2, "containers run on"
        world.continue_agent("n1")
        await world.until(lambda: world.running("shop_web") == slots(6), 30, "six slots run")

    run(in_world(42, story))


def test_containers_live_on_while_agents_are_stopped() -> None:
    async def story(world: World) -> None:
        await deploy(world, service("shop_job", image="job:1", replicas=1))
        await world.until(lambda: bool(world.running("shop_job")), 30, "it runs")
        ((node, _),) = world.live()["shop_job", "1"]
        for name in world.nodes:
            world.stop_agent(name)
        await world.until(lambda: not world.nodes[node].live(), 5, "it has ended")

    run(in_world(43, story))
