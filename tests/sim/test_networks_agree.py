"""A node that holds everything is known to: nobody's stop waits for it for long, told in virtual time."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from bus.commits import Put
from schemas import subjects
from schemas.memberapi import UpdateNode
from schemas.network import EndpointsRecord, NetworkRecord
from schemas.stackapi import DeployStack, RemoveStack
from schemas.wire import decode, encode
from tests.sim.loop import run
from tests.sim.network_stage import deploy, level, web
from tests.sim.networks import stored, unsettled_networks
from tests.sim.test_networks_narrow import on_own_network, on_own_networks, stopping, unnoticed
from tests.sim.world import World, in_world, silence_logs

PROMPT = 2.0
"""Seconds: many times what a stop takes, far below what it waits at most (`agent.network.leaving.NOTICE_WITHIN`)."""


@pytest.fixture(autouse=True)
def quiet() -> None:
    silence_logs()


async def bank_runs(world: World) -> None:
    await on_own_networks(world, ("bank", "n2"))
    await world.until(lambda: len(world.running("bank_web")) == 3, 60, "the bank runs")


async def bank_is_replaced(world: World) -> float:
    """The longest that a stop of its tasks took."""
    took = stopping(world, "bank")
    await on_own_networks(world, ("bank", "n2"), environment={"N": "2"})
    await world.until(lambda: len(took) == 3, 180, "all are replaced")
    return max(took.values())


def test_a_node_without_tasks_that_was_away_while_a_network_went() -> None:
    """It never had an assignment, so it goes on following what it had; of what is gone it holds nothing."""

    async def story(world: World) -> None:
        await world.insist("node.update", UpdateNode(node="n3", availability="drain"))
        await deploy(world, web(replicas=2))
        await level(world, 2)
        await bank_runs(world)
        world.crash_agent("n3")
        await asyncio.sleep(5)
        await world.insist("stack.remove", RemoveStack(stack="shop"))
        await world.until(lambda: not any(name.startswith("shop") for name in stored(world)[0]), 60, "it is gone")
        world.start_agent("n3")
        await asyncio.sleep(2)
        await world.until(lambda: not unsettled_networks(world), 60, "it is gone everywhere")
        assert await bank_is_replaced(world) < PROMPT

    run(in_world(31, story))


def tiny(first: str) -> DeployStack:
    """Nine services on a network with six virtual addresses; the first one on that node."""
    found = [on_own_network(f"w{number}", "tiny", "n1" if number else first) for number in range(9)]
    services = tuple(
        msgspec.structs.replace(each, replicas=1, spec=msgspec.structs.replace(each.spec, name=f"tiny_w{number}"))
        for number, each in enumerate(found)
    )
    network = NetworkRecord(name="tiny_net", stack="tiny", subnet="10.77.0.0/26", node_prefix=29)
    return DeployStack(stack="tiny", services=services, networks=(network,))


def test_services_without_a_virtual_address_while_the_allotment_changes() -> None:
    async def story(world: World) -> None:
        await bank_runs(world)
        await world.insist("stack.deploy", tiny("n1"))
        await asyncio.sleep(30)
        await world.insist("stack.deploy", tiny("n3"))
        await asyncio.sleep(30)
        allotted = stored(world)[0]["tiny_net"]
        assert sorted(allotted.services.values()).count("") == 3
        assert "are in use" in allotted.why
        agent = world.nodes["n3"].agent
        assert agent is not None
        assert len(agent.networking.following.view.endpoints) == 9
        assert await bank_is_replaced(world) < PROMPT
        assert not unnoticed(world)

    run(in_world(33, story))


@pytest.mark.parametrize(("every", "slow"), [(0.1, 0.15), (0.3, 0.4), (1.0, 1.2)])
def test_a_node_whose_passes_take_longer_than_its_records_stand(every: float, slow: float) -> None:
    """It is always behind by a record or two, and tells the truth about it."""

    async def churn(world: World) -> None:
        key = subjects.endpoints_key("shop_net", "shop_web")
        while True:
            value = world.broker.state.existing().entries[key].value
            assert value is not None
            held = decode(value, EndpointsRecord)
            turned = msgspec.structs.replace(held, backends=held.backends[1:] + held.backends[:1])
            await world.operator.state.commit((Put(key, encode(turned)),))
            await asyncio.sleep(every)

    async def story(world: World) -> None:
        await deploy(world, web(replicas=3))
        await level(world, 3)
        await bank_runs(world)
        world.nodes["n3"].machine.slow = slow
        async with asyncio.TaskGroup() as group:
            task = group.create_task(churn(world))
            await asyncio.sleep(5)
            took = await bank_is_replaced(world)
            task.cancel()
        assert took < PROMPT + 2 * slow
        assert not unnoticed(world)

    run(in_world(34, story))
