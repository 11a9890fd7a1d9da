"""How a story ends: not while something of it may still come."""

from __future__ import annotations

import asyncio

import pytest

from controller.images import ANSWER_WITHIN
from schemas.errors import MeshError
from schemas.memberapi import UpdateNode
from schemas.stackapi import DeployStack
from tests.sim.invariants import Watchman, unsettled
from tests.sim.loop import run
from tests.sim.settling import CALM, quiet, settle
from tests.sim.test_world import deploy, service, slots
from tests.sim.world import World, in_world, silence_logs


@pytest.fixture(autouse=True)
def silent() -> None:
    silence_logs()


def test_a_request_that_a_controller_still_deals_with_is_waited_for() -> None:
    """Seed 800687: a node's answer about an image was lost, so the deploy came when all was taken for quiet."""

    async def story(world: World) -> None:
        watchman, began = Watchman(world), world.now
        world.cut("n2")
        with pytest.raises(MeshError):
            await world.ask("stack.deploy", DeployStack(stack="shop", services=(service("shop_web"),)), timeout=1.0)
        world.plug("n2")
        assert ANSWER_WITHIN > CALM, "else there is nothing to wait for"
        await settle(world)
        assert world.now - began > ANSWER_WITHIN
        assert world.running("shop_web") == slots(6)
        await quiet(world, watchman)

    run(in_world(71, story))


def test_a_node_that_was_drained_late_is_used_again() -> None:
    """Seed 50001162: a drain that nobody waited for any more was stored 1 ms after its node was found active."""

    async def story(world: World) -> None:
        watchman = Watchman(world)
        await deploy(world, service("shop_edge", mode="global"))
        await settle(world)
        on_its_way = world.broker.hold("mesh.api.node.update")
        with pytest.raises(MeshError):
            await world.ask("node.update", UpdateNode(node="n1", availability="drain"), timeout=1.0)
        world.broker.faults.remove(on_its_way)
        await world.insist("node.update", UpdateNode(node="n1", availability="active"))
        world.broker.release()
        await world.until(lambda: "'shop_edge': (2, 3)" in unsettled(world, frozenset()), 5, "n1 is drained")
        await settle(world)
        assert world.running("shop_edge") == ["n1", "n2", "n3"]
        await quiet(world, watchman)

    run(in_world(73, story))


def test_once_nobody_asks_for_anything_calm_is_enough() -> None:
    async def story(world: World) -> None:
        await asyncio.sleep(2)
        began = world.now
        await settle(world)
        assert world.now - began < CALM + 2

    run(in_world(72, story))
