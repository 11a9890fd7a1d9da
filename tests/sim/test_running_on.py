"""What ran runs on when a store is made anew: the checker is proven by recoveries that go wrong, and passes those that
do not, whatever is wanted afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import pytest

from controller import readopting
from meshctl import rebuilding, recovery
from meshctl.rebuilding import Rebuilt
from meshctl.recovery import Found, NewRecord
from schemas import subjects
from schemas.assignment import Assignment
from schemas.records import RolloutRecord
from schemas.revisionapi import PromoteService
from schemas.serviceapi import ScaleServices, ServiceDeploy
from schemas.wire import encode
from tests.sim import stores
from tests.sim.invariants import Violated, Watchman, records
from tests.sim.loop import run
from tests.sim.stage import web
from tests.sim.store_stage import led_anew, two_services
from tests.sim.test_stores_since import (
    back,
    canaries,
    confirmed_dead,
    drained,
    in_use_again,
    nothing,
    removed_and_deployed_anew,
    rolled_back,
    updated,
)
from tests.sim.test_world import deploy, images, slots
from tests.sim.world import World, in_world, silence_logs


@pytest.fixture(autouse=True)
def quiet() -> None:
    silence_logs()


Steps = Callable[[World], Awaitable[None]]
Plant = Callable[[pytest.MonkeyPatch], None]

SILENTLY, WITHOUT_REASON = "nobody has asked for its end", "for no reason known"


async def scaled(world: World) -> None:
    await world.insist("service.scale", ScaleServices(replicas={"shop_web": 9}))
    await world.until(lambda: world.running("shop_web") == slots(9), 30, "nine run")
    await asyncio.sleep(3)


async def promoted(world: World) -> None:
    await world.insist("service.promote", PromoteService(service="shop_web"))
    await world.until(lambda: records(world)["rollout.shop_web"].phase == "done", 90, "all have it")
    await asyncio.sleep(5)


def play(
    steps: Sequence[Steps], *, then: Steps = nothing, silent: bool = False, rebuild: bool = True, generation: int = 2
) -> Watchman:
    """A store is lost, and made anew of a backup from before the last of the steps. `silent`: n1 is, at that time."""
    watchmen: list[Watchman] = []

    async def story(world: World) -> None:
        watchman = Watchman(world)
        watchmen.append(watchman)
        world.crash_controller(world.leader())  # so that the watchman sees who leads
        await world.settled()
        await asyncio.sleep(3)  # it hears all nodes
        await two_services(world)
        *before, since = steps
        for step in before:
            await step(world)
        backup = await stores.back_up(world)
        await since(world)
        await asyncio.sleep(3)
        stores.lose_store(world)
        if silent:
            world.cut("n1")
        await asyncio.sleep(3)
        await stores.recover(world, backup, rebuild=rebuild)
        await world.until(lambda: world.leader() != "", 30, "somebody leads")
        await asyncio.sleep(1)
        world.plug("n1")
        await led_anew(world, generation)
        await then(world)
        for _ in range(200):
            watchman.look_at_engines()
            await asyncio.sleep(0.1)

    run(in_world(10, story))
    return watchmen[0]


def written(change: Callable[[str, Assignment], Assignment]) -> Plant:
    """What is written of what an agent holds is something else."""

    def records(_: Any, found: Found, held: Mapping[str, Assignment], generation: int) -> Iterable[NewRecord]:
        for node in found.views:
            record = msgspec.structs.replace(change(node, held[node]), generation=generation)
            yield NewRecord(subjects.desired_key(node), encode(record))

    return lambda patch: patch.setattr(recovery, "_assignments", records)


def without(count: int) -> Callable[[str, Assignment], Assignment]:
    def change(_: str, held: Assignment) -> Assignment:
        return msgspec.structs.replace(held, tasks=held.tasks[count:])

    return change


def renamed(_: str, held: Assignment) -> Assignment:
    tasks = tuple(msgspec.structs.replace(task, id=f"zz-{task.id}") for task in held.tasks)
    return msgspec.structs.replace(held, tasks=tasks)


def given_away(node: str, held: Assignment) -> Assignment:
    return msgspec.structs.replace(held, tasks=() if node == "n1" else held.tasks)


def blind(patch: pytest.MonkeyPatch) -> None:
    """What agents show to be newer than the backup is not looked at."""
    patch.setattr(rebuilding, "_newer_service", lambda *_: None)


def no_member_rebuilt(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(recovery, "rebuilt_members", lambda *_, **__: Rebuilt())


def never_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rebuilding, "_went_back", lambda *_: False)


def believed(patch: pytest.MonkeyPatch) -> None:
    """A node that was silent is given what the backup had for it, less one."""

    def less_one(old: Assignment, _: Any, generation: int, epoch: int) -> Assignment:
        less = msgspec.structs.replace(old, tasks=old.tasks[1:], provisional=False)
        return msgspec.structs.replace(less, generation=generation, epoch=epoch)

    patch.setattr(readopting, "readopted", less_one)


BUGS: dict[str, tuple[Plant, Sequence[Steps], bool, str]] = {
    "agents are told to run nothing": (written(without(1000)), (nothing,), False, SILENTLY),
    "one task is forgotten": (written(without(1)), (nothing,), False, SILENTLY),
    "tasks get other names": (written(renamed), (nothing,), False, SILENTLY),
    "a node's tasks are given to others": (written(given_away), (nothing,), False, SILENTLY),
    "a silent node is not asked when it is back": (believed, (nothing,), True, SILENTLY),
    "the backup's revision is wanted": (blind, (updated,), False, WITHOUT_REASON),
    "the backup's slots are wanted": (blind, (scaled,), False, WITHOUT_REASON),
    "the backup's drained node is drained": (no_member_rebuilt, (drained, in_use_again), False, WITHOUT_REASON),
    "what was rolled back is tried again": (never_back, (updated, rolled_back), False, WITHOUT_REASON),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_recovery_that_ends_containers_is_caught(monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    plant, steps, silent, says = BUGS[bug]
    assert not play(steps, silent=silent).violations
    plant(monkeypatch)
    with pytest.raises(Violated, match=says):
        play(steps, silent=silent).raise_if_any()


@pytest.mark.parametrize(
    "steps",
    [
        (scaled,),
        (updated,),
        (canaries, promoted),
        (removed_and_deployed_anew,),
        (drained, in_use_again),
        (confirmed_dead, back),
    ],
)
@pytest.mark.parametrize("silent", [False, True])
def test_what_was_done_since_the_backup_ends_nothing(steps: Sequence[Steps], *, silent: bool) -> None:
    play(steps, silent=silent).raise_if_any()


async def scaled_down(world: World) -> None:
    await world.insist("service.scale", ScaleServices(replicas={"shop_web": 2}))
    await world.until(lambda: len(world.running("shop_web")) == 2, 30, "two run")


async def down(world: World) -> None:
    world.power_off("n2")
    await world.until(lambda: "n2" not in world.ready(), 30, "it is down")
    world.power_on("n2")


async def cut_off(world: World) -> None:
    """Its tasks are given to others, and end when it is back."""
    world.cut("n2")
    await world.until(lambda: "n2" not in world.ready() and len(world.running("shop_web")) > 6, 30, "it is down")
    await asyncio.sleep(3)
    world.plug("n2")


def cautious(image: str, monitor: float) -> ServiceDeploy:
    return web(image, replicas=4, parallelism=0, failure_action="rollback", monitor=monitor)


def play_failing(monitor: float, seconds: float, failing: float, *, agents: bool = False) -> tuple[Watchman, str, int]:
    """All slots have had another revision than the backup's for some seconds when the store is lost; an engine restarts
    so long after that. What it comes to. `agents`: the others have started anew just before."""
    came_to: list[RolloutRecord] = []

    async def first(world: World) -> None:
        await deploy(world, cautious("app:1", monitor))
        await asyncio.sleep(60)

    async def newer(world: World) -> None:
        before, slots = images(world), world.running("shop_web")
        await deploy(world, cautious("app:2", monitor))
        await world.until(lambda: not images(world) & before and world.running("shop_web") == slots, 90, "all have it")
        await asyncio.sleep(seconds)
        ((node, _),) = world.live()["shop_web", "1"]
        world.loop.call_later(3 + failing, world.crash_engine, node)
        world.loop.call_later(3 + failing + 0.9, world.nodes[node].engine.recover)
        for name in sorted(world.nodes.keys() - {node}) if agents else ():
            world.loop.call_later(0.2, world.crash_agent, name)
            world.loop.call_later(0.4, world.start_agent, name)

    async def afterwards(world: World) -> None:
        await asyncio.sleep(80)
        came_to.append(records(world)["rollout.shop_web"])

    watchman = play((first, newer), then=afterwards)
    return watchman, came_to[0].update.state, came_to[0].revision


DURING, BEFORE_THE_FIRST_ROUND = 3.1, 5.8
"""Seconds after the loss: the recovery begins after 3, and asks the agents after 5.5."""


@pytest.mark.parametrize("failing", [DURING, BEFORE_THE_FIRST_ROUND])
def test_what_fails_during_a_recovery_does_not_take_back_what_had_come_up_as_a_whole(
    failing: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seed 57001924."""
    watchman, *came_to = play_failing(5.0, 20, failing)
    watchman.raise_if_any()
    assert came_to == ["completed", 3]
    monkeypatch.setattr(rebuilding, "completed", lambda *_: None)
    with pytest.raises(Violated, match=WITHOUT_REASON):
        play_failing(5.0, 20, failing)[0].raise_if_any()


@pytest.mark.parametrize("failing", [DURING, BEFORE_THE_FIRST_ROUND])
@pytest.mark.parametrize(("monitor", "agents"), [(30.0, False), (10.0, True)])
def test_what_is_watched_still_goes_back_after_a_recovery_and_what_nobody_can_tell_of(
    failing: float, monitor: float, *, agents: bool
) -> None:
    watchman, *came_to = play_failing(monitor, 20, failing, agents=agents)
    watchman.raise_if_any()
    assert came_to == ["rollback_completed", 2]


@pytest.mark.parametrize("then", [scaled_down, updated, drained, down, cut_off])
def test_what_happens_after_a_recovery_may_end_what_ran_before(then: Steps) -> None:
    play((nothing,), then=then).raise_if_any()


@pytest.mark.parametrize("pause", [0.0, 1.0, 4.0])
def test_recoveries_in_quick_succession_end_nothing(pause: float) -> None:
    async def twice(world: World) -> None:
        backup = await stores.back_up(world)
        await scaled(world)
        stores.lose_store(world)
        await stores.recover(world, backup)
        await asyncio.sleep(pause)
        stores.lose_store(world)
        await stores.recover(world, backup)
        await asyncio.sleep(5)

    play((updated, twice), generation=4).raise_if_any()


def test_a_restore_ends_nothing_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not play((scaled,), rebuild=False).violations
    written(without(1))(monkeypatch)
    with pytest.raises(Violated, match=SILENTLY):
        play((scaled,), rebuild=False).raise_if_any()


def test_a_restore_may_end_what_its_backup_does_not_want() -> None:
    async def story(world: World) -> None:
        watchman = Watchman(world)
        await two_services(world)
        backup = await stores.back_up(world)
        await scaled(world)
        await stores.recover(world, backup, rebuild=False)
        await world.until(lambda: world.running("shop_web") == slots(6), 30, "six run again")
        watchman.look_at_engines()
        assert not [each for each in watchman.violations if "made anew" in each]

    run(in_world(4, story))
