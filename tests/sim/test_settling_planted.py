"""How a story ends: each condition is proven by a bug that it must catch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from bus.commits import Put
from schemas import subjects
from schemas.records import RolloutRecord, ServiceRecord
from schemas.wire import encode
from tests.sim import settling
from tests.sim.invariants import Violated, Watchman, unsettled
from tests.sim.loop import run
from tests.sim.settling import CALM, QUIET, quiet, settle
from tests.sim.test_planted import commit
from tests.sim.test_world import deploy, service, slots
from tests.sim.world import World, in_world, silence_logs

SOON = 30.0
"""What a mesh of these tests gets to settle in."""


@pytest.fixture(autouse=True)
def silent() -> None:
    silence_logs()


def _keeps_storing(world: World, key: str, every: float) -> asyncio.Task[None]:
    async def store() -> None:
        while True:
            await asyncio.sleep(every)
            commit(world, "operator", Put(key, b"{}"), fenced=False)

    return world.group.create_task(store())


@pytest.mark.parametrize("every", [1.0, QUIET - 1.0])
def test_a_mesh_that_stores_for_ever_is_not_quiet(every: float) -> None:
    async def story(world: World) -> None:
        watchman = Watchman(world)
        storing = _keeps_storing(world, "config.busy.1", every)
        with pytest.raises(Violated, match="were stored in 16 s in which nothing happened"):
            await quiet(world, watchman)
        storing.cancel()

    run(in_world(81, story))


def test_a_mesh_that_moves_its_cursor_or_runs_a_job_for_ever_is_quiet() -> None:
    async def story(world: World) -> None:
        watchman = Watchman(world)
        storing = _keeps_storing(world, subjects.EVENTS_CURSOR, 1.0)
        await quiet(world, watchman)
        storing.cancel()
        record = ServiceRecord(name="shop_job", target=1, replicas=0)
        commit(world, "operator", Put("service.shop_job", encode(record)), fenced=False)
        storing = _keeps_storing(world, "config.busy.1", 1.0)
        await quiet(world, watchman)
        storing.cancel()

    run(in_world(82, story))


PARTS = ("unsettled", "_converging", "unsettled_networks", "_asked", "more")


@pytest.mark.parametrize("part", PARTS)
def test_a_mesh_that_never_comes_to_be_as_it_should_is_told_of(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`more` is what a story has besides."""
    monkeypatch.setattr(settling, "SETTLE", SOON)
    if part != "more":
        monkeypatch.setattr(settling, part, lambda *_: f"{part} says no")
    more = (lambda: "more says no") if part == "more" else (lambda: "")

    async def story(world: World) -> None:
        began = world.now
        with pytest.raises(Violated, match=f"not settled 30 s after the last fault: {part} says no"):
            await settle(world, more)
        assert world.now - began < SOON + 1

    run(in_world(83, story))


def test_calm_begins_anew_when_it_was_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(world: World) -> None:
        began = world.now
        broken = began + CALM - 2
        await settle(world, lambda: "it comes late" if broken < world.now < broken + 1 else "")
        assert world.now - broken > CALM
        monkeypatch.setattr(settling, "SETTLE", SOON)
        with pytest.raises(Violated, match="not settled"):
            await settle(world, lambda: "now and then" if world.now % 10 < 1 else "")

    run(in_world(84, story))


def _stored(world: World, name: str, phase: str) -> None:
    record = RolloutRecord(service=name, deploy=1, revision=1, phase=phase)  # type: ignore[arg-type]
    commit(world, "operator", Put(f"rollout.{name}", encode(record)), fenced=False)


def test_a_rollout_under_way_is_not_settled_but_for_one_whose_tasks_end_by_themselves() -> None:
    async def story(world: World) -> None:
        for name, phase in (("shop_web", "done"), ("shop_job", "converging")):
            _stored(world, name, phase)
        assert settling._converging(world) == ""
        _stored(world, "shop_web", "converging")
        assert settling._converging(world) == "shop_web converging"

    run(in_world(85, story))


def _twice(world: World) -> None:
    labels = dict(next(lives[0][1] for lives in world.live().values()).view.labels)
    world.nodes["n1"].engine.invent("double", labels)


def _too_few(world: World) -> None:
    next(lives[0][1] for lives in world.live().values()).end(1)


def _one_of_nothing(world: World) -> None:
    """A container of a service that nobody knows."""
    labels = dict(next(lives[0][1] for lives in world.live().values()).view.labels)
    world.nodes["n1"].engine.invent("odd", {**labels, "mesh.service": "shop_odd"})


def _of_a_removed_one(world: World) -> None:
    record = ServiceRecord(name="shop_web", target=1, replicas=2, removed=True)
    commit(world, "operator", Put("service.shop_web", encode(record)), fenced=False)


def _on_too_few_nodes(world: World) -> None:
    record = ServiceRecord(name="shop_web", target=1, replicas=2, mode="global")
    commit(world, "operator", Put("service.shop_web", encode(record)), fenced=False)


UNSETTLED: dict[Callable[[World], None], str] = {
    _twice: "slots run twice: {('shop_web', '",
    _too_few: "running and wanted differ: {'shop_web': (1, 2)}",
    _one_of_nothing: "running and wanted differ: {'shop_odd': (1, 0)}",
    _of_a_removed_one: "running and wanted differ: {'shop_web': (2, 0)}",
    _on_too_few_nodes: "running and wanted differ: {'shop_web': (2, 3)}",
}


@pytest.mark.parametrize("forgotten", [False, True])
@pytest.mark.parametrize("bug", UNSETTLED, ids=lambda each: each.__name__.strip("_"))
def test_what_is_not_as_wanted_is_not_settled(bug: Callable[[World], None], forgotten: bool) -> None:
    """What the store forgot when it was made anew may run on."""

    async def story(world: World) -> None:
        await deploy(world, service("shop_web", replicas=2))
        await world.until(lambda: world.running("shop_web") == slots(2), 30, "both run")
        world.forgotten = {"shop_odd"} if forgotten else set()
        assert not unsettled(world, frozenset())
        bug(world)
        says = "" if forgotten and bug is _one_of_nothing else UNSETTLED[bug]
        assert unsettled(world, frozenset()).startswith(says)
        assert bool(unsettled(world, frozenset())) is bool(says)
        if bug is not _twice:
            assert not unsettled(world, frozenset({"shop_web", "shop_odd"}))

    run(in_world(86, story))
