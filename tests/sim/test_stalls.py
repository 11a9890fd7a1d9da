"""A NATS server stalls and keeps its connections open: who sits on it moves before anybody takes him for dead."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from bus.memory import MemoryBus
from bus.users import agent_user, controller_user
from tests.sim.loop import run
from tests.sim.test_world import deploy, service, slots
from tests.sim.world import World, in_world, silence_logs


@pytest.fixture(autouse=True)
def quiet() -> None:
    silence_logs()


def on_it(world: World, who: str) -> list[str]:
    """The users that sit on the server that is to stall."""
    followers = [name for name in sorted(world.controllers) if name != world.leader()]
    agents = [agent_user(name) for name in sorted(world.nodes)]
    chosen = {
        "the leader": [controller_user(world.leader())],
        "the leader and nodes": [controller_user(world.leader()), *agents[:2]],
        "a follower and a node": [controller_user(followers[0]), agents[0]],
        "all followers": [controller_user(name) for name in followers],
        "all": [*(controller_user(name) for name in world.controllers), *agents],
    }
    return chosen[who]


def story_of(who: str, found: list[str]) -> Callable[[World], object]:
    async def story(world: World) -> None:
        await deploy(world, service("shop_web"))
        await world.until(lambda: world.running("shop_web") == slots(6), 30, "six slots run")
        await world.settled()
        before = world.live()
        leader = world.controllers[world.leader()]
        epoch = leader.elector.election.epoch
        await asyncio.sleep(world.rng.uniform(0, 1))  # anywhere between two beats
        world.broker.stall(*on_it(world, who))
        for _ in range(100):
            await asyncio.sleep(0.1)
            verdicts = leader.mirror.records.liveness
            found.extend(f"{name} is down" for name, record in verdicts.items() if record.verdict == "down")
        epochs = {each.elector.election.epoch for each in world.controllers.values()}
        if epochs != {epoch} or not leader.leads:
            found.append("another leads")
        if world.live() != before:
            found.append("something was moved")

    return story


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("who", ["the leader", "the leader and nodes", "a follower and a node", "all followers", "all"])
def test_nobody_is_taken_for_dead_and_nobody_is_deposed(who: str, seed: int) -> None:
    found: list[str] = []
    run(in_world(100 + seed, story_of(who, found)))
    assert not found


def test_without_asking_their_server_a_leader_is_deposed_and_nodes_are_down(monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(_bus: MemoryBus, _limit: float) -> bool:
        return False

    monkeypatch.setattr(MemoryBus, "check_line", silent)
    found: list[str] = []
    run(in_world(100, story_of("the leader and nodes", found)))
    assert "another leads" in found
