"""Once a store was made anew, and what runs beside what has settled, all is looked at again: planted bugs prove it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from controller import moving
from schemas import subjects
from schemas.memberapi import UpdateNode
from tests.sim import stores
from tests.sim.invariants import ADOPTED, WORKS_AGAIN, Watchman, records, unsettled
from tests.sim.loop import run
from tests.sim.stage import Stage, web
from tests.sim.store_stage import led_anew, two_services
from tests.sim.test_world import deploy, service, slots
from tests.sim.world import World, in_world, silence_logs


@pytest.fixture(autouse=True)
def quiet() -> None:
    silence_logs()


async def made_anew(world: World, generation: int = 2) -> None:
    stores.lose_store(world)
    await asyncio.sleep(3)
    await stores.recover(world, None)
    await led_anew(world, generation)
    await asyncio.sleep(3)


@pytest.mark.parametrize("bug", [False, True])
def test_decisions_are_looked_at_again(monkeypatch: pytest.MonkeyPatch, *, bug: bool) -> None:
    async def story(world: World) -> None:
        stage = Stage(world)
        await stage.begin()
        await stage.stands(web("app:1", replicas=6))
        await made_anew(world)
        if bug:
            monkeypatch.setattr(moving, "_at_once", lambda *_: True)
        await world.insist("node.update", UpdateNode(node="n1", availability="drain"))
        await world.until(lambda: not world.nodes["n1"].live(), 30, "the node is empty")
        assert any("leaves a drained node before" in each for each in stage.watchman.violations) is bug

    run(in_world(51, story))


def test_what_a_store_knew_that_was_lost_with_all_records_counts_no_more() -> None:
    """No agent answers, and there is no backup: the mesh's record is all that the store made anew gets (70001274)."""

    async def story(world: World) -> None:
        stage = Stage(world)
        await stage.begin()
        await stage.stands(web("app:1", replicas=6))
        for node in world.nodes:
            world.crash_agent(node)
        stores.lose_store(world)
        world.broker.observed.replace(None)
        recovery = await stores.recover(world, None)
        assert not recovery.records
        world.start_agent("n2")
        await world.until(lambda: subjects.node_key("n2") in records(world), 30, "it joins")
        await deploy(world, web("app:1", replicas=6))
        await world.until(lambda: len(world.nodes["n2"].live()) == 6, 30, "it runs all")
        stage.watchman.raise_if_any()

    run(in_world(51, story))


def test_what_runs_in_the_end_is_looked_at_again() -> None:
    async def story(world: World) -> None:
        stage = Stage(world)
        await stage.begin()
        await stage.stands(web("app:1"))
        await made_anew(world)
        await stage.stands(web("app:2"))
        assert stage.promises.ends_where_it_should() == ""
        life = world.live()["shop_web", "1"][0][1]
        life.view.labels["mesh.spec"] = "another"  # type: ignore[index]
        assert "is not of revision" in stage.promises.ends_where_it_should()

    run(in_world(51, story))


def test_a_service_that_agents_told_of_is_known_afterwards() -> None:
    """One that only a silent node ran need not be."""

    async def story(world: World) -> None:
        await two_services(world)
        world.cut("n1")
        await made_anew_without(world, "n1")
        assert not world.forgotten
        del world.broker.state.existing().entries[subjects.service_key("shop_web")]
        assert "'shop_web': (6, 0)" in unsettled(world, frozenset())
        world.forgotten.add("shop_web")
        assert not unsettled(world, frozenset())

    run(in_world(5, story))


async def made_anew_without(world: World, node: str, *, off: bool = False) -> None:
    stores.lose_store(world)
    await stores.recover(world, None)
    await world.until(lambda: world.leader() != "", 30, "somebody leads")
    world.power_on(node) if off else world.plug(node)
    await led_anew(world, 2)
    await asyncio.sleep(20)


@pytest.mark.parametrize("off", [False, True])
def test_what_only_a_silent_node_ran_may_be_forgotten(*, off: bool) -> None:
    """It runs on, or runs again once the machine is on."""

    async def story(world: World) -> None:
        for name in ("n2", "n3"):
            await world.insist("node.update", UpdateNode(node=name, availability="drain"))
        await deploy(world, service("shop_web", replicas=2))
        await world.until(lambda: world.running("shop_web") == slots(2), 30, "both run on n1")
        await asyncio.sleep(3)
        world.power_off("n1") if off else world.cut("n1")
        await made_anew_without(world, "n1", off=off)
        assert world.forgotten == {"shop_web"}
        assert not unsettled(world, frozenset())

    run(in_world(5, story))


def doubles(world: World, watchman: Watchman) -> bool:
    """Whether the watchman objects to a second container in the slot of the first."""
    node, life = world.live()["shop_web", "1"][0]
    other = world.nodes["n2" if node == "n1" else "n1"].engine
    double = other.invent("double", dict(life.view.labels))
    watchman.look_at_engines()
    other.forget(double)
    seen = any("runs twice, and must not" in each for each in watchman.violations)
    watchman.violations.clear()
    return seen


async def agent_stops(world: World, watchman: Watchman) -> float:
    node = world.live()["shop_web", "1"][0][0]
    world.stop_agent(node)
    watchman.look_at_engines()
    world.continue_agent(node)
    return WORKS_AGAIN


async def engine_hangs(world: World, watchman: Watchman) -> float:
    faults = world.nodes[world.live()["shop_web", "1"][0][0]].engine.faults
    faults.hang = True
    watchman.look_at_engines()
    faults.hang = False
    return WORKS_AGAIN


async def store_goes(world: World, watchman: Watchman) -> float:
    stores.lose_store(world)
    await stores.recover(world, None)
    watchman.look_at_engines()
    return ADOPTED


@pytest.mark.parametrize("cause", [agent_stops, engine_hangs, store_goes])
def test_what_must_not_run_twice_is_let_pass_for_as_long_as_something_explains_it(
    cause: Callable[[World, Watchman], Awaitable[float]],
) -> None:
    async def story(world: World) -> None:
        await deploy(world, service("shop_web", replicas=1))
        await world.until(lambda: world.running("shop_web") == slots(1), 30, "it runs")
        world.alone.add("shop_web")
        watchman = Watchman(world)
        assert doubles(world, watchman)
        seconds = await cause(world, watchman)
        assert not doubles(world, watchman)
        await asyncio.sleep(seconds - 1.0)
        assert not doubles(world, watchman)
        await asyncio.sleep(2.0)
        assert doubles(world, watchman)

    run(in_world(6, story))
