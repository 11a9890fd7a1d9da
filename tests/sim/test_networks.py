"""Who is sent to, told in virtual time, with real controllers and agents over machines in memory."""

from __future__ import annotations

import asyncio

import pytest

from schemas.memberapi import UpdateNode
from schemas.serviceapi import ScaleServices
from schemas.stackapi import RemoveStack
from tests.sim.loop import run
from tests.sim.network_stage import deploy, level, watched, web
from tests.sim.networks import stored, unsettled_networks, up
from tests.sim.test_world import slots
from tests.sim.world import World, in_world, silence_logs


@pytest.fixture(autouse=True)
def quiet() -> None:
    silence_logs()


def test_maps_follow_and_no_task_stops_before_it_is_out_of_all_of_them() -> None:
    async def story(world: World) -> None:
        watch, violations = watched(world)
        await deploy(world, web())
        await level(world, 3)
        before = world.live()
        world.nodes["n1"].machine.slow = 1.0
        await deploy(world, web(environment={"N": "2"}))
        await world.until(lambda: not {k for k, v in world.live().items() if before.get(k) == v}, 90, "replaced")
        await level(world, 3)
        await world.insist("service.scale", ScaleServices(replicas={"shop_web": 1}))
        await level(world, 1)
        await world.insist("node.update", UpdateNode(node="n1", availability="drain"))
        await level(world, 1)
        assert watch.stops >= 5
        assert not violations
        await world.insist("stack.remove", RemoveStack(stack="shop"))
        await world.until(lambda: not stored(world)[0] and not unsettled_networks(world), 60, "nothing is left")

    run(in_world(5, story))


def test_an_agent_that_starts_anew_is_waited_for() -> None:
    async def story(world: World) -> None:
        _, violations = watched(world)
        await deploy(world, web(replicas=4))
        await level(world, 4)
        world.crash_agent("n2")
        world.nodes["n2"].machine.slow = 3.0
        world.start_agent("n2")
        await world.insist("service.scale", ScaleServices(replicas={"shop_web": 1}))
        await level(world, 1)
        assert not violations

    run(in_world(6, story))


def test_open_connections_are_waited_for_while_others_answer() -> None:
    async def story(world: World) -> None:
        await deploy(world, web(replicas=2))
        await level(world, 2)
        for node in world.nodes.values():
            node.machine.open = dict.fromkeys(up(world, "shop_net", "shop_web"), 3)
        asked = world.now
        await world.insist("service.scale", ScaleServices(replicas={"shop_web": 1}))
        await world.until(lambda: world.running("shop_web") != slots(2), 60, "one has stopped")
        assert 9.0 < world.now - asked < 14.0, "the grace period of 10 s"
        asked = world.now
        await world.insist("service.scale", ScaleServices(replicas={"shop_web": 0}))
        await world.until(lambda: world.running("shop_web") == [], 60, "all have stopped")
        assert world.now - asked < 5.0, "the last one is not waited for"

    run(in_world(7, story))


def test_a_dead_nodes_tasks_are_out_of_all_maps_within_a_second_of_the_verdict() -> None:
    async def story(world: World) -> None:
        await deploy(world, web(replicas=3))
        await level(world, 3)
        (lost,) = {life.view.addresses["mesh.shop_net"] for life in world.nodes["n3"].live()}
        world.power_off("n3")
        await world.until(lambda: world.ready() == {"n1", "n2"}, 30, "it is seen")
        took = await world.until(
            lambda: all(lost not in world.nodes[name].machine.table.destinations() for name in ("n1", "n2")),
            5,
            "nobody sends to it",
        )
        assert took < 1.0, took

    run(in_world(8, story))


def test_without_a_leader_agents_leave_out_who_does_not_answer_and_take_it_back() -> None:
    async def story(world: World) -> None:
        await deploy(world, web(replicas=3))
        await level(world, 3)
        for name in sorted(world.controllers):
            world.crash_controller(name)
        (mute,) = {life.view.addresses["mesh.shop_net"] for life in world.nodes["n3"].live()}
        for name in ("n1", "n2"):
            world.nodes[name].machine.silent.add(mute)
        sending = [world.nodes[name].machine.table for name in ("n1", "n2")]
        await world.until(lambda: not any(mute in each.destinations() for each in sending), 15, "it is out")
        for name in ("n1", "n2"):
            world.nodes[name].machine.silent.clear()
        await world.until(lambda: all(mute in each.destinations() for each in sending), 10, "it is back")

    run(in_world(9, story))


def test_agents_leave_out_who_does_not_answer_while_a_leader_at_rest_could_write_nothing() -> None:
    async def story(world: World) -> None:
        await deploy(world, web(replicas=3))
        await level(world, 3)
        await asyncio.sleep(10)
        world.broker.pause_writes(40, leaderless=True)
        (mute,) = {life.view.addresses["mesh.shop_net"] for life in world.nodes["n3"].live()}
        others = [world.nodes[name].machine for name in ("n1", "n2")]
        for machine in others:
            machine.silent.add(mute)
        sending = [machine.table for machine in others]
        await world.until(lambda: not any(mute in each.destinations() for each in sending), 15, "it is out")
        await asyncio.sleep(30)  # the store is there again, the leader knows nothing against it, and its word holds
        await world.until(lambda: all(mute in each.destinations() for each in sending), 15, "it is back")

    run(in_world(12, story))


def test_a_task_that_dies_is_out_of_its_own_nodes_map_though_nobody_can_write() -> None:
    async def story(world: World) -> None:
        await deploy(world, web(replicas=3))
        await level(world, 3)
        world.broker.pause_writes(30)
        node = world.nodes["n2"]
        (life,) = node.live()
        address = life.view.addresses["mesh.shop_net"]
        life.end(1)
        took = await world.until(lambda: address not in node.machine.table.destinations(), 5, "it is out")
        assert took < 1.0, took

    run(in_world(10, story))


def test_an_end_that_a_node_can_not_send_to_holds_up_nothing_else_there() -> None:
    async def story(world: World) -> None:
        machine, other = world.nodes["n1"].machine, world.nodes["n3"]
        machine.refuses_peers = {other.address}
        await deploy(world, web())
        await world.until(lambda: len(up(world, "shop_net", "shop_web")) == 3, 30, "n1 runs its task, too")
        (tunnel,) = machine.tunnels.values()
        assert tunnel.peers == {world.nodes["n2"].address}
        agent = world.nodes["n1"].agent
        assert agent is not None
        assert any(other.address in why for why in agent.networking.troubles.values())
        assert agent.networking.applied < agent.networking.following.level, "it says that it is not done"
        machine.refuses_peers = set()
        await level(world, 3, seconds=5)
        await world.until(lambda: agent.networking.applied >= agent.networking.following.level, 5, "it is done")
        assert {name for tunnel in machine.tunnels.values() for name in tunnel.peers} == {
            node.address for node in world.nodes.values() if node.machine is not machine
        }
        assert agent.networking.troubles == {}

    run(in_world(18, story))


@pytest.mark.parametrize("address", ["nonsense", "192.0.2.1"])
def test_a_node_with_a_wrong_address_keeps_nobody_else_from_a_network(address: str) -> None:
    """The other one is of a node that has it."""

    async def story(world: World) -> None:
        await deploy(world, web(replicas=1))
        await level(world, 1)
        world.crash_agent("n3")
        world.nodes["n3"].address = address
        world.start_agent("n3")
        await asyncio.sleep(5)
        await deploy(world, web(replicas=5))
        await level(world, 5)
        (record,) = stored(world)[0].values()
        assert {name: held.tunnel for name, held in record.nodes.items()} == {
            name: f"192.0.2.{name[1]}" for name in world.nodes
        }
        assert list(record.without) == ["n3"]
        assert address in record.without["n3"]

    run(in_world(19, story))
