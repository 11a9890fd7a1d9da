"""Observations are lost, and snapshots come from a replica that is behind or not at all: a leader that knows that it
has missed something takes nothing down, and goes on once it has caught up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from bus.memory_faults import Rule
from bus.users import controller_user
from controller.caution import BEHIND
from schemas.memberapi import UpdateNode
from tests.sim.loop import run
from tests.sim.stage import Stage, play, web
from tests.sim.test_basis import OBSERVED, changed
from tests.sim.test_rollouts import rollout
from tests.sim.test_world import deploy, slots
from tests.sim.world import World, in_world, silence_logs

LONG = 8.0


@pytest.fixture(autouse=True)
def quiet() -> None:
    silence_logs()


def stale(world: World) -> None:
    """Snapshots show how things were before the loss."""
    world.broker.faults.snapshot_lag = 20


def late(world: World) -> None:
    """They are always two writes behind."""
    world.broker.faults.snapshot_lag = 2


def absent(world: World) -> None:
    """The observations' stream has no leader: nobody can take a snapshot, nor store what runs."""
    observed = world.broker.observed
    observed.leaderless, observed.paused_until = True, world.now + 600


def ends(world: World) -> None:
    world.broker.faults.clear()
    world.broker.observed.leaderless, world.broker.observed.paused_until = False, 0.0


def lives(world: World) -> list[object]:
    return [life for found in world.live().values() for _, life in found]


def told(world: World) -> bool:
    return any(BEHIND in reason.text for reason in rollout(world).reasons)


async def _is_behind(stage: Stage, fault: Callable[[World], None]) -> str:
    """A task fails, its leader does not hear of it, and can't find out; the slot that failed."""
    world = stage.world
    world.broker.faults.add(Rule(subject=OBSERVED, receiver=controller_user(world.leader())))
    ((_, life),) = world.live()["shop_web", "3"]
    life.end(1)
    await asyncio.sleep(0.5)  # its agent has told
    fault(world)
    await asyncio.sleep(5)  # what was lost is looked for
    return "3"


async def _stays(stage: Stage, what: list[object]) -> None:
    """None of it ends for as long as the leader is behind; it says why, and leads on."""
    world, leader = stage.world, stage.world.leader()
    for _ in range(round(LONG / 0.1)):
        await asyncio.sleep(0.1)
        assert all(life in lives(world) for life in what)
    assert told(world)
    assert world.leader() == leader


async def _is_done(stage: Stage) -> None:
    world = stage.world
    ends(world)
    await world.until(lambda: rollout(world).phase == "done" and rollout(world).updated == 4, 60, "it is done")
    assert not told(world)
    assert world.running("shop_web") == slots(4)


@pytest.mark.parametrize("fault", [stale, absent, late])
def test_no_turn_of_an_update_begins_before_the_leader_has_caught_up(fault: Callable[[World], None]) -> None:
    async def story(stage: Stage) -> None:
        world = stage.world
        first = web("app:1", parallelism=1, max_unavailable="1")
        await stage.stands(first)
        slot = await _is_behind(stage, fault)
        await deploy(world, changed(first))
        await _stays(stage, [life for (_, each), ((_, life),) in world.live().items() if each != slot])
        await _is_done(stage)
        assert rollout(world).deploy == 2

    play(story)


def test_what_has_its_next_one_beside_it_stays_till_the_leader_has_caught_up() -> None:
    async def story(stage: Stage) -> None:
        world = stage.world
        first = web("app:1", parallelism=1, order="start-first")
        await stage.stands(first)
        slot = await _is_behind(stage, late)
        old = [life for (_, each), found in world.live().items() for _, life in found if each != slot]
        await deploy(world, changed(first))
        await _stays(stage, old)
        assert len(lives(world)) > 4
        await _is_done(stage)
        assert rollout(world).deploy == 2

    play(story)


def test_nothing_leaves_a_drained_node_before_the_leader_has_caught_up() -> None:
    async def story(stage: Stage) -> None:
        world = stage.world
        await stage.stands(web("app:1"))
        slot = await _is_behind(stage, late)
        node, life = next(found for (_, each), (found,) in world.live().items() if each != slot)
        await world.insist("node.update", UpdateNode(node=node, availability="drain"))
        await _stays(stage, [life])
        await _is_done(stage)
        assert not world.nodes[node].live()

    play(story)


def test_gaps_that_are_closed_at_once_are_not_told_of() -> None:
    async def story(world: World) -> None:
        first = web("app:1", replicas=6, parallelism=1)
        await deploy(world, first)
        await world.until(lambda: world.running("shop_web") == slots(6), 30, "it stands")
        world.broker.faults.delay = (0.05, 0.1)
        loses = Rule(subject=OBSERVED, receiver=controller_user(world.leader()), first=1)
        await deploy(world, changed(first))
        behind = 0
        while not (rollout(world).deploy == 2 and rollout(world).phase == "done"):
            world.broker.faults.add(loses)  # one more of them
            await asyncio.sleep(0.05)
            behind += world.controllers[world.leader()].mirror.unseen_since is not None
            assert not told(world)
        assert behind

    run(in_world(3, story), limit=90)
