"""Agents that follow their own networks only, told in virtual time: nobody waits for others, and nothing is missed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from agent.engine.memory_life import Life
from bus.memory_faults import Rule
from controller.levels import Levels
from schemas import subjects
from schemas.memberapi import UpdateNode
from schemas.netapi import CreateNetwork
from schemas.network import Attachment, NetworkRecord
from schemas.serviceapi import ServiceDeploy
from schemas.spec import Constraint, Placement
from schemas.stackapi import DeployStack
from tests.sim.loop import run
from tests.sim.network_stage import deploy, level, watched, web
from tests.sim.networks import NetworkWatch, stored, unsettled_networks
from tests.sim.world import World, in_world, silence_logs


@pytest.fixture(autouse=True)
def quiet() -> None:
    silence_logs()


def on_own_network(name: str, stack: str, node: str, **more: Any) -> ServiceDeploy:
    """A service on a network of its stack that publishes nothing, on one node of the three."""
    deploy = web(name=f"{stack}_{name}", ports=(), **more)
    spec = deploy.spec
    container = msgspec.structs.replace(spec.task.container, networks=(Attachment(network=f"{stack}_net"),))
    placement = Placement(constraints=(Constraint(key="node.hostname", op="==", value=node),))
    task = msgspec.structs.replace(spec.task, container=container, placement=placement)
    return ServiceDeploy(spec=msgspec.structs.replace(spec, stack=stack, task=task), replicas=deploy.replicas)


async def on_own_networks(world: World, *stacks: tuple[str, str], **more: Any) -> None:
    """Each stack with its own network, on the node named with it."""
    for stack, node in stacks:
        request = DeployStack(
            stack=stack,
            services=(on_own_network("web", stack, node, **more),),
            networks=(NetworkRecord(name=f"{stack}_net", stack=stack),),
        )
        await world.insist("stack.deploy", request)


def followed(world: World, node: str) -> set[str]:
    agent = world.nodes[node].agent
    assert agent is not None
    assert agent.networking is not None
    return set(agent.networking.following.view.allocations)


def stopping(world: World, stack: str) -> dict[str, float]:
    """Task -> seconds from the record that names it no more to its stop signal; filled as that happens."""
    took: dict[str, float] = {}
    left: dict[str, float] = {}

    def committed(user: str, batch: Any, fence: Any, outcome: Any) -> None:
        _, endpoints = stored(world)
        record = endpoints.get(f"{stack}_net.{stack}_web")
        named = {each.task for each in record.backends} if record is not None else set()
        for task in list(known):
            if task not in named:
                left.setdefault(task, world.now)
        known.update(named)

    known: set[str] = set()
    world.broker.state.on_commit = committed
    for node in world.nodes.values():
        inner = node.engine.on_stop

        def stopped(life: Life, then: Callable[[Life], None] = inner) -> None:
            task = life.view.labels.get("mesh.task", "")
            if task in left:
                took[task] = world.now - left[task]
            then(life)

        node.engine.on_stop = stopped
    return took


def unnoticed(world: World) -> set[str]:
    agents = (node.agent for node in world.nodes.values() if node.agent is not None)
    return {task for agent in agents if agent.networking is not None for task in agent.networking.leaving.unnoticed}


async def replaced_next_to_others(world: World) -> dict[str, float]:
    """Two networks, each on its own node; all tasks of one are replaced. Task -> how long its stop took."""
    watch, violations = watched(world)
    await on_own_networks(world, ("shop", "n1"), ("bank", "n2"))
    await world.until(lambda: len(world.running("shop_web") + world.running("bank_web")) == 6, 60, "both run")
    await world.until(lambda: not unsettled_networks(world), 30, "all nodes send to those that are up")
    assert [followed(world, name) for name in ("n1", "n2", "n3")] == [{"shop_net"}, {"bank_net"}, set()]
    took = stopping(world, "shop")
    await on_own_networks(world, ("shop", "n1"), environment={"N": "2"})
    await world.until(lambda: len(took) == 3, 120, "all are replaced")
    assert watch.stops == 3 - len(unnoticed(world))
    assert not violations
    return took


def test_agents_follow_their_own_networks_and_nobody_waits_for_who_has_nothing_to_do_with_one() -> None:
    async def story(world: World) -> None:
        took = await replaced_next_to_others(world)
        assert not unnoticed(world)
        assert max(took.values()) < 0.6, took

    run(in_world(18, story))


def test_a_leader_that_waits_for_everybody_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: as it was when agents heard everything."""
    monkeypatch.setattr(Levels, "_level", lambda _, heartbeat: heartbeat.endpoints)

    async def story(world: World) -> None:
        took = await replaced_next_to_others(world)
        assert unnoticed(world)
        assert max(took.values()) > 5.0, took

    run(in_world(18, story))


def test_a_node_that_comes_to_a_network_while_others_leave_it_sends_to_nobody_that_has_left() -> None:
    async def story(world: World) -> None:
        world.broker.faults.read_lag = 2
        watch, violations = watched(world)
        await deploy(world, web(replicas=2, ports=()))
        await level(world, 2)
        for number in range(6):
            for name in world.nodes:
                availability = "drain" if name == f"n{number % 3 + 1}" else "active"
                await world.insist("node.update", UpdateNode(node=name, availability=availability))
            await deploy(world, web(replicas=2, ports=(), environment={"N": f"{number}"}))
            await asyncio.sleep(world.rng.uniform(5, 20))
        world.broker.faults.read_lag = 0
        await level(world, 2)
        assert watch.stops >= 12
        assert not violations

    run(in_world(19, story))


def test_a_leader_that_waits_for_nobody_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: all nodes have come as far as the leader."""
    monkeypatch.setattr(Levels, "_level", lambda levels, _: levels._records().sequence)

    async def story(world: World) -> None:
        _, violations = watched(world)
        await deploy(world, web())
        await level(world, 3)
        world.nodes["n1"].machine.slow = 1.0
        await deploy(world, web(environment={"N": "2"}))
        await world.until(lambda: bool(violations), 90, "a task stops while n1 still sends to it")

    run(in_world(5, story))


async def replaced_while_entries_are_lost(world: World) -> list[str]:
    """n3 misses that a task is to go, hears no answer either, but what comes next; what the watch says of the stop."""
    watch, violations = watched(world)
    await deploy(world, web())
    await level(world, 3)
    before = backends(world)
    lost = subjects.STATE_REPUBLISHED + subjects.endpoints_key("shop_net", "shop_web")
    faults = world.broker.faults
    rules = [
        faults.add(Rule(subject=lost, receiver="agent-n3")),
        faults.add(Rule(subject=subjects.heartbeat("n3"), receiver="agent-n3", answers=True)),
    ]
    await deploy(world, web(environment={"N": "2"}))
    await world.until(lambda: bool(before - backends(world)), 60, "one is to go")
    await world.insist("network.create", CreateNetwork(network=NetworkRecord(name="open", attachable=True)))
    await asyncio.sleep(0.2)
    for rule in rules:
        faults.remove(rule)
    await world.until(lambda: bool(violations) or _all_replaced(world, watch), 60, "all are replaced everywhere")
    return violations


def _all_replaced(world: World, watch: NetworkWatch) -> bool:
    return watch.stops >= 3 and not unsettled_networks(world)


def backends(world: World) -> set[str]:
    return {each.task for each in stored(world)[1]["shop_net.shop_web"].backends}


def test_an_entry_that_is_lost_on_its_way_is_not_passed_over_by_the_next() -> None:
    async def story(world: World) -> None:
        assert not await replaced_while_entries_are_lost(world)
        assert not unnoticed(world)

    run(in_world(20, story))


def test_a_leader_that_believes_a_node_which_heard_the_next_entry_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: as it was before agents told a digest."""
    monkeypatch.setattr(Levels, "_agrees", lambda *_: True)

    async def story(world: World) -> None:
        assert await replaced_while_entries_are_lost(world)

    run(in_world(20, story))
