"""A node comes back, nothing moves by itself, and a rebalance evens it out: with real controllers and real agents."""

from __future__ import annotations

import pytest

from schemas.errors import Conflict
from schemas.rebalance import RebalanceRecord
from schemas.rebalanceapi import ApplyRebalance, GetRebalance, PlanRebalance
from tests.sim.loop import run
from tests.sim.test_rollouts import rollout, web
from tests.sim.test_world import deploy, slots
from tests.sim.world import World, in_world, silence_logs


@pytest.fixture(autouse=True)
def quiet() -> None:
    silence_logs()


def spread(world: World) -> list[int]:
    nodes = [node for (service, _), lives in world.live().items() if service == "shop_web" for node, _ in lives]
    return [nodes.count(name) for name in sorted(world.nodes)]


async def record(world: World) -> RebalanceRecord | None:
    view = await world.insist("rebalance.get", GetRebalance())
    found: RebalanceRecord | None = view.record
    return found


@pytest.mark.parametrize("order", ["start-first", "stop-first"])
def test_a_node_that_was_away_is_used_again_by_a_rebalance_though_leaders_die(order: str) -> None:
    async def story(world: World) -> None:
        world.power_off("n3")
        await world.until(lambda: world.ready() == {"n1", "n2"}, 30, "n3 is down")
        wanted = web("app:1", order=order, parallelism=1)
        await deploy(world, type(wanted)(spec=wanted.spec, replicas=6))
        await world.until(lambda: rollout(world).phase == "done", 60, "it stands")
        world.power_on("n3")
        await world.until(lambda: world.ready() == set(world.nodes), 30, "n3 is back")
        seen = await world.insist("rebalance.plan", PlanRebalance())
        assert [each.target for each in seen.moves] == ["n3", "n3"]
        assert spread(world) == [3, 3, 0], "nothing moves by itself"
        ordered = await world.insist("rebalance.apply", ApplyRebalance(command="even"))
        again = await world.insist("rebalance.apply", ApplyRebalance(command="even"))
        assert ordered.order == again.order == "even"
        with pytest.raises(Conflict):
            await world.ask("rebalance.apply", ApplyRebalance(command="other"))
        fewest = 6
        for _ in range(3):
            leader = world.leader()
            if leader:
                world.crash_controller(leader)
                await world.until(lambda: world.leader() != "", 30, "another leads")
                world.start_controller(leader)
            fewest = min(fewest, len({slot for (name, slot) in world.live() if name == "shop_web"}))
        await world.until(lambda: spread(world) == [2, 2, 2], 60, "it is even")
        await world.until(lambda: not _orders(world), 30, "the order is answered")
        found = await record(world)
        assert found is not None
        assert [each.state for each in found.moves] == ["done", "done"]
        assert world.running("shop_web") == slots(6)
        assert fewest >= (6 if order == "start-first" else 5)
        assert (await world.insist("rebalance.plan", PlanRebalance())).moves == ()

    run(in_world(21, story))


def _orders(world: World) -> bool:
    leader = world.leader()
    return not leader or bool(world.controllers[leader].mirror.records.orders)
