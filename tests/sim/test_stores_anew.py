"""The store is made anew, of a backup or of what agents know: in virtual time, with real controllers and agents."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from agent.engine.labels import LABEL_SERVICE
from bus.memory_stream import MemoryStream
from schemas import subjects
from schemas.assignment import Applied
from schemas.errors import MeshError
from schemas.liveness import Heartbeat
from schemas.serviceapi import ScaleServices
from schemas.wire import encode
from tests.sim import stores
from tests.sim.invariants import Watchman, records
from tests.sim.loop import run
from tests.sim.store_stage import led_anew, lives, troubles, two_services
from tests.sim.test_world import deploy, service, slots
from tests.sim.world import World, in_world, silence_logs


@pytest.fixture(autouse=True)
def quiet() -> None:
    silence_logs()


def test_a_lost_store_is_rebuilt_without_any_backup() -> None:
    async def story(world: World) -> None:
        await two_services(world)
        before = lives(world)
        stores.lose_store(world)
        await asyncio.sleep(20)
        recovery = await stores.recover(world, None)
        assert recovery.mesh.generation == 2
        await led_anew(world, 2)
        await asyncio.sleep(20)
        assert lives(world) == before
        stored = records(world)
        assert (stored["service.shop_web"].replicas, stored["service.shop_edge"].mode) == (6, "global")
        await world.insist("service.scale", ScaleServices(replicas={"shop_web": 8}))
        await world.until(lambda: world.running("shop_web") == slots(8), 30, "the mesh works again")
        assert before < lives(world)

    run(in_world(2, story))


def test_who_was_stopped_while_a_store_was_made_anew_does_not_take_it_for_an_older_one() -> None:
    """It hears of the new generation from agents before its mirror shows it."""

    async def story(world: World) -> None:
        await two_services(world)
        asleep = next(name for name in sorted(world.controllers) if name != world.leader())
        world.stop_controller(asleep)
        stores.lose_store(world)
        await asyncio.sleep(3)
        recovery = await stores.recover(world, None)
        await led_anew(world, recovery.mesh.generation)
        world.continue_controller(asleep)
        controller, said = world.controllers[asleep], set[str]()
        for _ in range(500):
            said.add(controller.leader.frozen.partition(":")[0])
            await asyncio.sleep(0.01)
        assert "store.rolled_back" not in said
        assert not controller.leader.frozen

    run(in_world(6, story))


def test_a_rolled_back_store_is_told_and_recovered_with_what_is_newer() -> None:
    async def story(world: World) -> None:
        await two_services(world)
        checkpoint = world.broker.checkpoint()
        await deploy(world, service("shop_new", replicas=2), service("shop_web", replicas=9))
        await world.until(lambda: world.running("shop_new") == slots(2), 30, "the new one runs")
        await world.until(lambda: world.running("shop_web") == slots(9), 30, "nine run")
        await asyncio.sleep(3)
        watchman, before = Watchman(world), lives(world)
        stores.roll_back(world, checkpoint)
        await world.until(lambda: troubles(world) == {"store.rolled_back"}, 10, "all controllers say so")
        world.crash_controller(world.leader() or "c1")
        await asyncio.sleep(40)
        watchman.look_at_engines()
        watchman.raise_if_any()
        await stores.recover(world, None)
        await led_anew(world, 2)
        await asyncio.sleep(20)
        assert lives(world) == before
        assert records(world)["service.shop_web"].replicas == 9
        assert "shop_new" in world.controllers[world.leader()].mirror.records.services

    run(in_world(3, story))


@pytest.mark.parametrize("lie", [(1, 10**6), (40, 3)])
def test_an_agent_that_claims_a_later_assignment_freezes_the_leader_and_recovering_helps(lie: tuple[int, int]) -> None:
    async def story(world: World) -> None:
        await two_services(world)
        before, truth = lives(world), world.nodes["n1"].agent
        assert truth is not None
        claimed = Applied(generation=lie[0], sequence=lie[1])
        beat = Heartbeat(
            node="n1", instance=truth.membership.identity.instance, boot="boot-1", count=1, applied=claimed
        )
        liar = world.broker.connect("agent-n1")

        async def lying() -> None:
            while True:
                with contextlib.suppress(MeshError):
                    await liar.core.request(subjects.heartbeat("n1"), encode(beat), timeout=1.0)
                await asyncio.sleep(0.5)

        world.processes["liar"] = world.group.create_task(lying())
        await world.until(lambda: "store.rolled_back" in troubles(world), 10, "the leader decides nothing more")
        await asyncio.sleep(20)
        assert lives(world) == before
        recovery = await stores.recover(world, None)
        assert (recovery.mesh.generation, recovery.first_sequence) > lie
        await led_anew(world, recovery.mesh.generation)
        await world.insist("service.scale", ScaleServices(replicas={"shop_web": 7}))
        await world.until(lambda: world.running("shop_web") == slots(7), 30, "the mesh works again, lie or no lie")
        assert before < lives(world)

    run(in_world(4, story))


def test_restoring_an_older_backup_does_what_it_wants_and_no_more() -> None:
    async def story(world: World) -> None:
        await two_services(world)
        backup = await stores.back_up(world)
        await world.insist("service.scale", ScaleServices(replicas={"shop_web": 9}))
        await world.until(lambda: world.running("shop_web") == slots(9), 30, "nine run")
        before = lives(world)
        await stores.recover(world, backup, rebuild=False)
        await led_anew(world, 2)
        await world.until(lambda: len(world.running("shop_web")) == 6, 30, "six run again")
        await asyncio.sleep(20)
        assert lives(world) < before
        assert len(lives(world)) == 9

    run(in_world(4, story))


def test_a_node_that_was_silent_at_the_restore_keeps_what_it_runs() -> None:
    async def story(world: World) -> None:
        await two_services(world)
        backup = await stores.back_up(world)
        await deploy(world, service("shop_new", replicas=3))
        await world.until(lambda: world.running("shop_new") == slots(3), 30, "it runs")
        world.cut("n1")
        there = {life.view.id: life.view.labels[LABEL_SERVICE] for life in world.nodes["n1"].live()}
        stores.lose_store(world)
        recovery = await stores.recover(world, backup)
        assert any("n1 does not answer" in warning for warning in recovery.warnings)
        await world.until(lambda: world.leader() != "", 30, "somebody leads")
        await asyncio.sleep(1)
        world.plug("n1")
        await led_anew(world, 2)
        gone = {there[life] for life in there.keys() - lives(world)}
        assert gone <= {"shop_new"}, "only what the backup does not know ends at once beside a replacement that is up"
        await asyncio.sleep(20)
        assert world.running("shop_web") == slots(6)
        assert len(world.running("shop_edge")) == 3
        assert world.running("shop_new") == slots(3)

    run(in_world(5, story))


@pytest.mark.parametrize("restarted", [False, True])
def test_a_store_made_anew_while_no_agent_answers_has_a_higher_generation_all_the_same(restarted: bool) -> None:
    """Seed 51004474: else it is not seen, when a node is back, that it obeys what this store does not know."""

    async def story(world: World) -> None:
        await two_services(world)
        backup, before = await stores.back_up(world), lives(world)
        stores.lose_store(world)
        await stores.recover(world, None)
        await led_anew(world, 2)
        await asyncio.sleep(3)
        for name in list(world.nodes):
            world.crash_agent(name)
        stores.lose_store(world)
        for name in list(world.controllers) if restarted else []:
            world.crash_controller(name)
            world.start_controller(name)
        world.broker.observed.replace(MemoryStream(created="2"))
        recovery = await stores.recover(world, backup if restarted else None)
        assert recovery.mesh.generation == 3
        await world.until(lambda: world.leader() != "", 30, "somebody leads")
        for name in list(world.nodes):
            world.start_agent(name)
        await led_anew(world, 3)
        await deploy(world, service("shop_web", replicas=2))
        await world.until(lambda: world.running("shop_web") == slots(2), 60, "what is too many ends")
        assert lives(world) < before, "the others are those of before"

    run(in_world(9, story))


def test_a_store_can_be_lost_again_and_again() -> None:
    async def story(world: World) -> None:
        await two_services(world)
        before = lives(world)
        for generation in (2, 3, 4):
            stores.lose_store(world)
            await asyncio.sleep(2)
            await stores.recover(world, None)
            await led_anew(world, generation)
        await asyncio.sleep(20)
        assert lives(world) == before

    run(in_world(6, story))
