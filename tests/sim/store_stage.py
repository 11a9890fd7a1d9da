"""What stories of a store that is lost or made anew begin with, and what they look at."""

from __future__ import annotations

import asyncio

from tests.sim.test_world import deploy, service
from tests.sim.world import World


def lives(world: World) -> set[str]:
    return {life.view.id for node in world.nodes.values() for life in node.live()}


def troubles(world: World) -> set[str]:
    return {each.leader.frozen.partition(":")[0] for each in world.controllers.values()}


async def two_services(world: World) -> None:
    await deploy(world, service("shop_web", replicas=6), service("shop_edge", mode="global"))
    await world.until(lambda: len(lives(world)) == 6 + len(world.nodes), 30, "all runs")
    await asyncio.sleep(3)


async def led_anew(world: World, generation: int) -> None:
    def holds() -> bool:
        leader = world.controllers.get(world.leader())
        mesh = leader.mirror.records.mesh if leader else None
        return mesh is not None and mesh.generation == generation and not leader.leader.frozen

    await world.until(holds, 30, f"somebody leads generation {generation}")
    await world.settled()


def agents_start_anew(world: World) -> None:
    for name in list(world.nodes):
        world.crash_agent(name)
        world.start_agent(name)
