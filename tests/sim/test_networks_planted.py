"""What must hold of networks: each checker is proven by a bug that it must catch."""

from __future__ import annotations

import msgspec
import pytest

from agent.network.leaving import Leaving
from bus.commits import Put
from schemas import subjects
from schemas.network import EndpointsRecord
from schemas.serviceapi import ScaleServices
from schemas.stackapi import RemoveStack
from schemas.wire import decode, encode
from tests.sim.loop import run
from tests.sim.network_stage import deploy, level, watched, web
from tests.sim.networks import stored, unsettled_networks
from tests.sim.test_planted import commit
from tests.sim.world import World, in_world, silence_logs


@pytest.fixture(autouse=True)
def quiet() -> None:
    silence_logs()


async def _scaled_while_a_node_is_slow(world: World) -> list[str]:
    watch, violations = watched(world)
    await deploy(world, web(replicas=3))
    await level(world, 3)
    world.nodes["n1"].machine.slow = 3.0
    await world.insist("service.scale", ScaleServices(replicas={"shop_web": 1}))
    await level(world, 1)
    assert watch.stops == 2
    return violations


def test_the_watch_catches_a_stop_while_somebody_still_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted bug: nobody is waited for."""

    async def story(world: World) -> None:
        assert not await _scaled_while_a_node_is_slow(world)

    async def planted(world: World) -> None:
        violations = await _scaled_while_a_node_is_slow(world)
        assert sum("is told to stop, and n1 still sends to ['10." in each for each in violations) == 2

    run(in_world(91, story))
    monkeypatch.setattr(Leaving, "may_stop", lambda *_: True)
    run(in_world(91, planted))


async def _level(world: World) -> None:
    await deploy(world, web(replicas=3))
    await level(world, 3)
    for name in sorted(world.controllers):
        world.crash_controller(name)


def test_a_node_that_missed_a_record_is_not_settled() -> None:
    async def story(world: World) -> None:
        await _level(world)
        key = subjects.endpoints_key("shop_net", "shop_web")
        value = world.broker.state.existing().entries[key].value
        assert value is not None
        held = decode(value, EndpointsRecord)
        again = msgspec.structs.replace(held, backends=held.backends[::-1])
        world.cut("n2")
        commit(world, "operator", Put(key, encode(again)), fenced=False)
        others = "n1 tells of other records", "n3 tells of other records"
        await world.until(lambda: not unsettled_networks(world).startswith(others), 10, "the others have heard")
        assert unsettled_networks(world) == "n2 tells of other records of its networks than stand in the store"

    run(in_world(92, story))


def test_a_node_that_sends_to_what_is_not_up_or_not_to_what_is_is_not_settled() -> None:
    async def story(world: World) -> None:
        await _level(world)
        for name in sorted(world.nodes):
            world.crash_agent(name)
        assert unsettled_networks(world) == ""
        (life,) = world.nodes["n3"].live()
        life.become("unhealthy")
        assert unsettled_networks(world).startswith("n1 sends shop_web on shop_net to [")
        life.become("healthy")
        assert unsettled_networks(world) == ""
        table = world.nodes["n2"].machine.table
        table.maps = {}
        assert unsettled_networks(world).startswith("n2 sends shop_web on shop_net to [], up are [")

    run(in_world(93, story))


def test_a_node_with_something_left_is_not_settled() -> None:
    async def story(world: World) -> None:
        await deploy(world, web(replicas=3))
        await level(world, 3)
        tunnels = dict(world.nodes["n2"].machine.tunnels)
        await world.insist("stack.remove", RemoveStack(stack="shop"))
        await world.until(lambda: not stored(world)[0] and not unsettled_networks(world), 60, "nothing is left")
        world.nodes["n2"].machine.tunnels = tunnels
        assert unsettled_networks(world).startswith("n2 has something left: ")

    run(in_world(94, story))
