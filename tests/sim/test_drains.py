"""Drains told once, in virtual time: nobody who uses a service notices, whoever leads and whatever is interrupted."""

from __future__ import annotations

import asyncio

import pytest

from schemas.memberapi import UpdateNode
from schemas.serviceapi import ListServices, ServiceDeploy
from schemas.spec import ContainerSpec, Mount, ServiceSpec, TaskSpec, UpdatePolicy
from tests.sim.loop import run
from tests.sim.test_rollouts import rollout
from tests.sim.test_world import deploy, slots
from tests.sim.world import World, in_world, silence_logs


@pytest.fixture(autouse=True)
def quiet() -> None:
    silence_logs()


def web(image: str = "slow:1", *, volume: str = "", replicas: int = 6) -> ServiceDeploy:
    mounts = (Mount(kind="volume", target="/data", source=volume),) if volume else ()
    task = TaskSpec(container=ContainerSpec(image=image, mounts=mounts))
    spec = ServiceSpec(name="shop_web", stack="shop", task=task, update=UpdatePolicy(monitor=0.0))
    return ServiceDeploy(spec=spec, replicas=replicas)


async def drain(world: World, node: str, availability: str = "drain", *, force: bool = False) -> None:
    request = UpdateNode(node=node, availability=availability, force=force)  # type: ignore[arg-type]
    await world.insist("node.update", request)


async def stands(world: World, service: ServiceDeploy) -> None:
    """It is deployed, and the leader knows that all of it is up."""
    await deploy(world, service)
    await world.until(lambda: rollout(world).phase == "done", 60, "it stands")


def up(world: World) -> set[str]:
    return {slot for service, slot in world.live() if service == "shop_web"}


async def reasons(world: World) -> set[str]:
    (view,) = (await world.insist("service.list", ListServices())).services
    return {reason.text for reason in view.rollout.reasons} if view.rollout is not None else set()


@pytest.mark.parametrize("seed", range(4))
def test_a_drain_is_not_noticed_though_leaders_die_on_the_way(seed: int) -> None:
    async def story(world: World) -> None:
        await stands(world, web())
        await drain(world, "n1")
        fewest = 6
        for _ in range(4):
            await asyncio.sleep(world.rng.uniform(0.0, 1.5))
            leader = world.leader()
            if leader:
                world.crash_controller(leader)
                fewest = min(fewest, len(up(world)))
                await asyncio.sleep(0.3)
                world.start_controller(leader)

        def empty() -> bool:
            nonlocal fewest
            fewest = min(fewest, len(up(world)))
            return not world.nodes["n1"].live()

        await world.until(empty, 60, "the node is empty")
        await world.until(lambda: world.running("shop_web") == slots(6), 30, "one task for each slot")
        assert fewest == 6

    run(in_world(31 + seed, story))


def test_a_drain_is_taken_back_half_way_and_begun_again() -> None:
    async def story(world: World) -> None:
        await stands(world, web())
        stayed = {life.view.id for life in world.nodes["n1"].live()}
        await drain(world, "n1")
        await asyncio.sleep(0.3)
        await drain(world, "n1", "active")
        await world.until(lambda: world.running("shop_web") == slots(6), 60, "one task for each slot")
        assert {life.view.id for life in world.nodes["n1"].live()} == stayed
        await drain(world, "n1")
        await world.until(lambda: not world.nodes["n1"].live(), 60, "the node is empty")
        assert world.running("shop_web") == slots(6)

    run(in_world(35, story))


def test_a_task_with_a_volume_stays_and_says_so_until_it_is_forced() -> None:
    async def story(world: World) -> None:
        await stands(world, web("app:1", volume="data", replicas=1))
        ((node, _),) = world.live()["shop_web", "1"]
        await drain(world, node)
        await asyncio.sleep(20)
        assert world.running("shop_web") == slots(1)
        volume = f"volume data is on node {node}, which is drained"
        assert await reasons(world) == {f"stays on node {node}, which is drained: {volume}"}
        await drain(world, node, force=True)
        await world.until(lambda: not world.live(), 30, "it has ended")
        await asyncio.sleep(2)
        assert await reasons(world) == {volume}

    run(in_world(36, story))
