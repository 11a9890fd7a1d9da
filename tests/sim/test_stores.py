"""The store is lost or rolled back: told once each, in virtual time, with real controllers and agents."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from bus.commits import Fence, Put
from schemas import subjects
from schemas.assignment import AssignedTask, Assignment
from schemas.records import EpochRecord
from schemas.serviceapi import ScaleServices
from schemas.wire import decode, encode
from tests.sim import stores
from tests.sim.invariants import Violated, Watchman
from tests.sim.loop import run
from tests.sim.store_stage import agents_start_anew, led_anew, lives, troubles, two_services
from tests.sim.test_world import deploy, service, slots
from tests.sim.world import World, in_world, silence_logs


@pytest.fixture(autouse=True)
def quiet() -> None:
    silence_logs()


def test_a_lost_store_is_told_and_stops_nothing() -> None:
    async def story(world: World) -> None:
        await two_services(world)
        watchman, before = Watchman(world), lives(world)
        stores.lose_store(world)
        await world.until(lambda: troubles(world) == {"store.missing"}, 10, "all controllers say so")
        agents_start_anew(world)
        await asyncio.sleep(60)
        watchman.look_at_engines()
        watchman.raise_if_any()
        assert lives(world) == before

    run(in_world(1, story))


def test_a_leader_that_writes_into_an_older_store_notices_by_its_own_write() -> None:
    """Within the two seconds between two looks the store may grow past what was seen before."""

    async def story(world: World) -> None:
        await two_services(world)
        checkpoint = world.broker.checkpoint()
        await deploy(world, service("shop_web", replicas=7))
        await world.until(lambda: len(world.running("shop_web")) == 7, 30, "seven run")
        await asyncio.sleep(3)
        await deploy(world, service("shop_web", replicas=8))
        await world.until(lambda: len(world.running("shop_web")) == 8, 30, "eight run: the leader has just written")
        stream = world.broker.state.existing()
        checkpoint.last = stream.last - 1
        leader = world.controllers[world.leader()]
        world.broker.roll_back(checkpoint)
        world.crash_agent("n1")
        next(iter(world.nodes["n2"].live())).end(1)
        await world.until(lambda: world.broker.state.existing().last > stream.last, 1.5, "the leader writes")
        await asyncio.sleep(0.1)
        assert leader.leader.frozen.startswith("store.rolled_back: a write was stored at")

    run(in_world(2, story))


@pytest.mark.parametrize("timers_first", [False, True])
def test_a_leader_that_was_stopped_looks_at_the_store_before_it_writes(timers_first: bool) -> None:
    """Its fence holds in the older store, too, which knows nothing of what it is about to carry out."""

    async def story(world: World) -> None:
        await two_services(world)
        checkpoint = world.broker.checkpoint()
        await deploy(world, service("shop_web", replicas=7))
        await world.until(lambda: len(world.running("shop_web")) == 7, 30, "seven run")
        written: list[str] = []
        world.broker.state.on_commit = lambda user, *_: written.append(user)
        leader = world.leader()
        world.stop_controller(leader)
        next(iter(world.nodes["n2"].live())).end(1)
        await asyncio.sleep(0.5)
        stores.roll_back(world, checkpoint)
        await asyncio.sleep(9)
        written.clear()
        world.continue_controller(leader, timers_first=timers_first)
        await world.until(lambda: bool(world.controllers[leader].leader.frozen), 5, "it knows")
        await asyncio.sleep(20)
        assert not written

    run(in_world(5, story))


def test_an_empty_store_that_somebody_made_is_told_and_stops_nothing() -> None:
    async def story(world: World) -> None:
        await two_services(world)
        watchman, before = Watchman(world), lives(world)
        stores.lose_all_but_the_stream(world)
        await world.until(
            lambda: troubles(world) <= {"store.missing", "store.rolled_back"}, 10, "all controllers say so"
        )
        agents_start_anew(world)
        await asyncio.sleep(60)
        watchman.look_at_engines()
        watchman.raise_if_any()
        await stores.recover(world, None)
        await led_anew(world, 2)
        await asyncio.sleep(20)
        assert lives(world) == before

    run(in_world(1, story))


def test_the_watchman_catches_a_container_that_is_stopped_while_the_store_is_lost() -> None:
    async def story(world: World) -> None:
        await two_services(world)
        watchman = Watchman(world)
        stores.lose_store(world)
        node = world.nodes["n1"]
        await node.engine.stop(node.live()[0].view.id)
        watchman.look_at_engines()
        with pytest.raises(Violated, match="while the store was not what it was"):
            watchman.raise_if_any()

    run(in_world(7, story))


def test_the_watchman_catches_an_agent_that_obeys_an_older_store() -> None:
    """The planted bug: an agent takes whatever the store says, higher or not."""

    async def story(world: World) -> None:
        await two_services(world)
        checkpoint = world.broker.checkpoint()
        await world.insist("service.scale", ScaleServices(replicas={"shop_web": 12}))
        await world.until(lambda: world.running("shop_web") == slots(12), 30, "twelve run")
        await asyncio.sleep(3)
        watchman = Watchman(world)
        stores.roll_back(world, checkpoint)
        await asyncio.sleep(5)
        for node in world.nodes.values():
            assert node.agent is not None
            node.agent.assignments.held = None
            node.agent.assignments.fetch()
        await asyncio.sleep(10)
        watchman.look_at_engines()
        with pytest.raises(Violated, match="while the store was not what it was"):
            watchman.raise_if_any()

    run(in_world(8, story))


@pytest.mark.parametrize("while_full", [False, True], ids=["once there is room", "while its disk is full"])
def test_what_an_agent_obeyed_on_a_full_disk_it_obeys_when_it_starts_anew(while_full: bool) -> None:
    """Seeds 57000479, 66000044: it obeyed the file, which was older than what ran, and no store told it better."""

    async def story(world: World) -> None:
        await two_services(world)
        for node in world.nodes.values():
            node.files.full = True
        await world.insist("service.scale", ScaleServices(replicas={"shop_web": 9}))
        await world.until(lambda: world.running("shop_web") == slots(9), 30, "nine run")
        for node in world.nodes.values():
            node.files.full = while_full
        await asyncio.sleep(5)
        watchman, before = Watchman(world), lives(world)
        stores.lose_store(world)
        agents_start_anew(world)
        await asyncio.sleep(20)
        watchman.look_at_engines()
        watchman.raise_if_any()
        assert lives(world) == before

    run(in_world(1, story))


@pytest.mark.parametrize(("later", "caught"), [(0.0, False), (10.0, True)])
def test_the_watchman_lets_pass_what_a_leader_had_decided_before_it_could_know(*, later: float, caught: bool) -> None:
    """What it stores later, in an older store, is no decision of that time."""

    async def story(world: World) -> None:
        watchman = Watchman(world)
        await two_services(world)
        checkpoint = world.broker.checkpoint()
        await world.insist("service.scale", ScaleServices(replicas={"shop_web": 7}))
        await asyncio.sleep(3)
        epoch = world.broker.state.existing().entries[subjects.EPOCH].sequence
        number = decode(checkpoint.entries[subjects.EPOCH].value or b"", EpochRecord).number(epoch)
        stores.roll_back(world, checkpoint)
        await asyncio.sleep(later)
        world.decided_by[number] = replace(world.decided_by[number], at=world.now)
        life = world.nodes["n1"].live()[0]
        task = AssignedTask(
            id=life.view.labels["mesh.task"], service="shop_web", slot="1", revision=1, spec="", desired="shutdown"
        )
        record = Assignment(node="n1", epoch=1, tasks=(task,))
        world.broker.state.commit("controller-c1", [Put(subjects.desired_key("n1"), encode(record))], Fence(epoch))
        await world.nodes["n1"].engine.stop(life.view.id)
        watchman.look_at_engines()
        assert any("while the store was not" in each for each in watchman.violations) is caught

    run(in_world(8, story))
