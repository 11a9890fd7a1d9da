"""What is not the mesh's is not touched: each way to touch it is a bug that the watchman must catch."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from agent.engine.plans import Join
from schemas.errors import MeshError
from tests.sim.breakage import mend_machines
from tests.sim.invariants import Violated
from tests.sim.loop import run
from tests.sim.machines import UNMANAGED, UNMANAGED_ENDED, WatchedEngine
from tests.sim.test_planted import watchman_of
from tests.sim.test_world import deploy, service, slots
from tests.sim.world import World, in_world, silence_logs


@pytest.fixture(autouse=True)
def quiet() -> None:
    silence_logs()


async def _nothing(_: World) -> None:
    """As it was from the beginning."""


async def _power_cut(world: World) -> None:
    world.power_off("n1")
    await asyncio.sleep(5)
    world.power_on("n1")


async def _engine_restart(world: World) -> None:
    world.crash_engine("n1")
    await asyncio.sleep(5)
    world.nodes["n1"].engine.recover()


async def _engine_restart_around_containers(world: World) -> None:
    world.crash_engine("n1", containers=False)
    await asyncio.sleep(5)
    world.nodes["n1"].engine.recover()


async def _mended_early(world: World) -> None:
    """The end of all faults comes while the engine is down."""
    world.crash_engine("n1")
    mend_machines(world)
    world.nodes["n1"].engine.recover()


BEFORE = (_nothing, _power_cut, _engine_restart, _engine_restart_around_containers, _mended_early)


def _removed(engine: WatchedEngine, name: str) -> None:
    engine.forget(name)


def _ended(engine: WatchedEngine, name: str) -> None:
    life = engine.life(name)
    if not life.view.alive:
        life.start()
    else:
        life.end(0)


def _ended_and_started(engine: WatchedEngine, name: str) -> None:
    life = engine.life(name)
    life.start()
    life.end(0)


def _renamed(engine: WatchedEngine, name: str) -> None:
    engine.tamper(name, name="ours")


@pytest.mark.parametrize("name", [UNMANAGED, UNMANAGED_ENDED])
@pytest.mark.parametrize("before", BEFORE, ids=lambda each: each.__name__.strip("_"))
@pytest.mark.parametrize("bug", [_removed, _ended, _ended_and_started, _renamed], ids=lambda each: each.__name__)
def test_the_watchman_catches_that_it_is_changed(
    bug: Callable[[WatchedEngine, str], None], before: Callable[[World], Awaitable[None]], name: str
) -> None:
    async def story(world: World) -> None:
        watchman, engine = watchman_of(world), world.nodes["n1"].engine
        await before(world)
        await asyncio.sleep(5)
        watchman.look_at_engines()
        watchman.raise_if_any()
        assert engine.life(UNMANAGED).view.alive
        bug(engine, name)
        with pytest.raises(Violated, match=f"not the mesh's was touched on n1: {name}$"):
            watchman.raise_if_any()

    run(in_world(1, story))


ASKED: dict[str, Callable[[WatchedEngine, str], Awaitable[None]]] = {
    "start": lambda engine, name: engine.start(name),
    "stop": lambda engine, name: engine.stop(name),
    "kill": lambda engine, name: engine.kill(name),
    "remove": lambda engine, name: engine.remove(name, force=True),
    "attach": lambda engine, name: engine.attach(name, [Join("mesh.net")]),
}


@pytest.mark.parametrize("by_id", [True, False])
@pytest.mark.parametrize("call", ASKED)
def test_the_watchman_catches_that_its_change_is_asked_for(call: str, by_id: bool) -> None:
    """Even if the engine refuses, or has nothing to do."""

    async def story(world: World) -> None:
        watchman, engine = watchman_of(world), world.nodes["n1"].engine
        name = engine.life(UNMANAGED_ENDED).view.id if by_id else UNMANAGED_ENDED
        with suppress(MeshError):
            await ASKED[call](engine, name)
        with pytest.raises(Violated, match="not the mesh's was touched on n1"):
            watchman.raise_if_any()

    run(in_world(1, story))


def test_the_watchman_catches_it_when_it_looks_though_nothing_tells() -> None:
    async def story(world: World) -> None:
        watchman, engine = watchman_of(world), world.nodes["n1"].engine
        del engine.lives[engine.life(UNMANAGED).view.id]
        watchman.look_at_engines()
        with pytest.raises(Violated, match="not the mesh's was touched on n1"):
            watchman.raise_if_any()

    run(in_world(1, story))


def test_what_the_mesh_does_to_its_own_touches_nothing_else() -> None:
    async def story(world: World) -> None:
        watchman = watchman_of(world)
        await deploy(world, service("shop_web", replicas=6))
        await world.until(lambda: world.running("shop_web") == slots(6), 30, "all run")
        await _power_cut(world)
        await world.until(lambda: world.running("shop_web") == slots(6), 60, "all run")
        await asyncio.sleep(20)
        watchman.look_at_engines()
        watchman.raise_if_any()

    run(in_world(2, story))
