"""What was done after the backup stands, and what ran runs on, when a lost store is made anew from it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from msgspec.structs import replace

from agent.engine.memory_life import Life
from schemas.memberapi import RemoveNode, UpdateNode
from schemas.revisionapi import PauseServices, RollbackService
from schemas.serviceapi import ScaleServices
from schemas.stackapi import RemoveStack
from schemas.statusapi import GiveOrder
from tests.sim import stores
from tests.sim.invariants import records
from tests.sim.loop import run
from tests.sim.store_stage import led_anew, lives, troubles, two_services
from tests.sim.test_world import deploy, images, service, slots
from tests.sim.world import World, in_world, silence_logs


@pytest.fixture(autouse=True)
def quiet() -> None:
    silence_logs()


Steps = Callable[[World], Awaitable[None]]


async def paused(world: World) -> None:
    await world.insist("service.pause", PauseServices(services=("shop_web",)))
    await asyncio.sleep(3)


async def resumed_and_scaled(world: World) -> None:
    await world.insist("service.pause", PauseServices(services=("shop_web",), paused=False))
    await world.insist("service.scale", ScaleServices(replicas={"shop_web": 9}))
    await world.until(lambda: world.running("shop_web") == slots(9), 30, "nine run")


async def nothing(world: World) -> None:
    pass


async def removed(world: World) -> None:
    await world.insist("stack.remove", RemoveStack(stack="shop"))


async def removed_and_deployed_anew(world: World) -> None:
    await removed(world)
    await deployed_anew(world)


async def deployed_anew(world: World) -> None:
    await world.until(lambda: not world.live(), 30, "nothing runs")
    await asyncio.sleep(5)
    await deploy(world, service("shop_web", "app:2"), service("shop_edge", mode="global"))
    await world.until(lambda: world.running("shop_web") == slots(6) and len(lives(world)) == 9, 30, "all runs")


async def updated(world: World) -> None:
    before = images(world)
    await deploy(world, service("shop_web", "app:2"), service("shop_edge", mode="global"))
    await world.until(lambda: not images(world) & before and world.running("shop_web") == slots(6), 90, "replaced")
    await asyncio.sleep(20)


async def rolled_back(world: World) -> None:
    before = images(world)
    await world.insist("service.rollback", RollbackService(service="shop_web"))
    await world.until(lambda: not images(world) & before and world.running("shop_web") == slots(6), 90, "it is back")
    await asyncio.sleep(20)


async def drained(world: World) -> None:
    await world.insist("node.update", UpdateNode(node="n1", availability="drain"))
    await world.until(lambda: not managed(world, "n1"), 30, "it is empty")
    await asyncio.sleep(5)


async def in_use_again(world: World) -> None:
    await world.insist("node.update", UpdateNode(node="n1", availability="active"))
    await filled(world)


async def joined_anew(world: World) -> None:
    """Another machine of the name."""
    world.power_off("n1")
    await world.until(lambda: "n1" not in world.ready(), 30, "it is down")
    await world.insist("node.remove", RemoveNode(node="n1"))
    await asyncio.sleep(5)
    world.nodes["n1"].files.content.clear()
    world.power_on("n1")
    await filled(world)


async def confirmed_dead(world: World) -> None:
    world.power_off("n1")
    await world.until(lambda: "n1" not in world.ready(), 30, "it is down")
    await world.insist("order.give", GiveOrder(kind="node.confirm-dead", node="n1"))
    leader = world.controllers[world.leader()]
    await world.until(lambda: leader.mirror.records.liveness["n1"].ended, 10, "nothing runs there")
    await asyncio.sleep(5)


async def back(world: World) -> None:
    world.power_on("n1")
    await filled(world)


async def filled(world: World) -> None:
    await world.until(lambda: "n1" in world.ready(), 30, "it is there")
    await world.insist("service.scale", ScaleServices(replicas={"shop_web": 9}))
    await world.until(lambda: world.running("shop_web") == slots(9) and len(managed(world, "n1")) > 2, 30, "it is used")


def managed(world: World, node: str) -> list[Life]:
    return [life for life in world.nodes[node].live() if "mesh.task" in life.view.labels]


async def canaries(world: World) -> None:
    both = (service("shop_web", "app:2"), service("shop_edge", "app:2", mode="global"))
    await deploy(world, *(replace(each, canary=1) for each in both))
    await world.until(lambda: all(stands(world, name) for name in ("shop_web", "shop_edge")), 60, "the canaries stand")


def stands(world: World, name: str) -> bool:
    return records(world)[f"rollout.{name}"].update.stands


@pytest.mark.parametrize(
    ("before", "since"),
    [
        (paused, resumed_and_scaled),
        (nothing, canaries),
        (nothing, removed_and_deployed_anew),
        (removed, deployed_anew),
        (updated, rolled_back),
        (drained, in_use_again),
        (nothing, joined_anew),
        (confirmed_dead, back),
    ],
)
def test_what_was_wanted_after_the_backup_is_not_ended_by_what_was_wanted_before(before: Steps, since: Steps) -> None:
    async def story(world: World) -> None:
        await two_services(world)
        await before(world)
        backup = await stores.back_up(world)
        await since(world)
        await asyncio.sleep(3)
        running = lives(world)
        stores.lose_store(world)
        await asyncio.sleep(3)
        await stores.recover(world, backup)
        await led_anew(world, 2)
        await asyncio.sleep(40)
        assert running <= lives(world)
        assert world.ready() == set(world.nodes)

    run(in_world(10, story))


@pytest.mark.parametrize("gone", [True, False])
def test_what_a_node_ran_before_it_went_down_is_not_wanted_again(*, gone: bool) -> None:
    async def story(world: World) -> None:
        await two_services(world)
        await world.insist("service.scale", ScaleServices(replicas={"shop_web": 9}))
        await world.until(lambda: world.running("shop_web") == slots(9), 30, "nine run")
        await asyncio.sleep(5)
        world.power_off("n1")
        await world.until(lambda: "n1" not in world.ready(), 30, "it is down")
        if gone:
            await world.insist("node.remove", RemoveNode(node="n1"))
        await world.insist("service.scale", ScaleServices(replicas={"shop_web": 2}))
        await world.until(lambda: len(world.running("shop_web")) == 2, 30, "two run")
        await asyncio.sleep(5)
        backup, before = await stores.back_up(world), lives(world)
        stores.lose_store(world)
        await asyncio.sleep(3)
        await stores.recover(world, backup)
        await world.until(lambda: world.leader() != "", 30, "somebody leads")
        await asyncio.sleep(20)
        assert records(world)["service.shop_web"].replicas == 2
        assert lives(world) == before

    run(in_world(12, story))


def test_a_canary_that_no_backup_knows_stands_and_can_be_aborted() -> None:
    async def story(world: World) -> None:
        await two_services(world)
        old = images(world)
        await canaries(world)
        await asyncio.sleep(3)
        before = lives(world)
        stores.lose_store(world)
        await asyncio.sleep(3)
        await stores.recover(world, None)
        await led_anew(world, 2)
        await world.until(lambda: stands(world, "shop_web"), 30, "it is watched again")
        assert before == lives(world)
        await world.insist("service.rollback", RollbackService(service="shop_web", canary=True))
        await world.until(lambda: images(world) == old and world.running("shop_web") == slots(6), 30, "it is gone")
        assert len(before & lives(world)) == len(before) - 1

    run(in_world(11, story))


@pytest.mark.parametrize("seed", [13, 16, 17])
def test_a_successor_that_nobody_was_told_of_runs_on(seed: int) -> None:
    """Its agent has started anew while nobody took it for a member: of its task the mesh has seen only the end. With
    these seeds a leader decides before the agent has told more."""

    async def story(world: World) -> None:
        await two_services(world)
        checkpoint = world.broker.checkpoint()
        await deploy(world, service("shop_web", replicas=7), service("shop_edge", mode="global"))
        await world.until(lambda: world.running("shop_web") == slots(7), 30, "seven run")
        await asyncio.sleep(3)
        stores.roll_back(world, checkpoint)
        await world.until(lambda: troubles(world) == {"store.rolled_back"}, 10, "all controllers say so")
        world.crash_controller(world.leader() or "c1")
        next(iter(world.nodes["n1"].live())).end(1)
        await asyncio.sleep(0.3)
        world.crash_agent("n1")
        world.start_agent("n1")
        await world.until(lambda: len(lives(world)) == 7 + len(world.nodes), 60, "a successor runs")
        before = lives(world)
        await stores.recover(world, None)
        await led_anew(world, 2)
        await asyncio.sleep(20)
        assert lives(world) == before

    run(in_world(seed, story))
