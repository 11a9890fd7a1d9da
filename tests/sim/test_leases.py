"""What must not run twice (`on_disconnect: stop_after`) does not, whatever falls silent: leases."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from agent import leases
from agent.engine.memory_life import Life
from controller import census
from schemas import subjects
from schemas.leases import replaceable_after
from schemas.memberapi import UpdateNode
from schemas.serviceapi import ServiceDeploy
from schemas.spec import ContainerSpec, RestartPolicy, ServiceSpec, TaskSpec, UpdatePolicy
from schemas.stackapi import DeployStack
from schemas.statusapi import GiveOrder
from tests.sim.invariants import Violated, Watchman
from tests.sim.loop import run
from tests.sim.world import World, in_world, silence_logs

NAME = "shop_one"
STOP_AFTER, GRACE = 12.0, 2.0
WHOLE = replaceable_after(STOP_AFTER, GRACE)


@pytest.fixture(autouse=True)
def quiet() -> None:
    silence_logs()


def one(image: str = "app:1", grace: float = GRACE, **task: Any) -> DeployStack:
    spec = ServiceSpec(
        name=NAME,
        stack="shop",
        task=TaskSpec(
            container=ContainerSpec(image=image, stop_grace=grace),
            restart=RestartPolicy(max_delay=5.0),
            **{"stop_after": STOP_AFTER, **task},
        ),
        update=UpdatePolicy(monitor=0.0),
    )
    return DeployStack(stack="shop", services=(ServiceDeploy(spec=spec, replicas=1),))


class Stage:
    """A world with the service in it, watched from the beginning."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.watchman = Watchman(world)
        self.watchman.holder = world.leader()
        self.watchman.epoch = world.broker.state.existing().entries[subjects.EPOCH].sequence
        world.alone.add(NAME)

    @property
    def lives(self) -> list[tuple[str, Life]]:
        """All that runs of it, and where."""
        return [life for (service, _), lives in self.world.live().items() if service == NAME for life in lives]

    @property
    def at(self) -> str:
        """Where it runs; "" nowhere."""
        return next((node for node, _ in self.lives), "")

    @property
    def made(self) -> list[str]:
        """Where it is made, and has not started."""
        nodes = sorted(self.world.nodes.items())
        views = [(name, life.view) for name, node in nodes for life in node.engine.lives.values()]
        return [name for name, view in views if view.state == "created" and view.labels.get("mesh.service") == NAME]

    async def begin(self, stack: DeployStack | None = None) -> str:
        """Deploy it; where it runs."""
        await self.world.ask("stack.deploy", stack or one())
        await self.world.until(lambda: bool(self.at), 30, "it runs")
        return self.at

    async def stops(self, within: float) -> float:
        return await self.world.until(lambda: not self.at, within, "its node stops it")

    async def runs_elsewhere(self, node: str, within: float) -> float:
        return await self.world.until(lambda: self.at not in ("", node), within, "it runs elsewhere")


def play(story: Callable[[Stage], Awaitable[None]], seed: int = 1) -> None:
    async def whole(world: World) -> None:
        stage = Stage(world)

        async def watch() -> None:
            while True:
                stage.watchman.look_at_engines()
                await asyncio.sleep(0.05)

        world.processes["watch"] = world.group.create_task(watch())
        await story(stage)
        stage.watchman.raise_if_any()

    run(in_world(seed, whole))


def test_a_node_that_is_cut_off_stops_it_in_time_and_only_then_it_is_replaced() -> None:
    async def story(stage: Stage) -> None:
        node = await stage.begin()
        await asyncio.sleep(10)
        stage.world.cut(node)
        took = await stage.stops(STOP_AFTER + GRACE)
        assert took >= STOP_AFTER - 2, f"stopped after {took:.1f} s: the lease was {STOP_AFTER:g} s"
        took += await stage.runs_elsewhere(node, WHOLE)
        assert WHOLE - 2 <= took <= WHOLE + 6
        stage.world.plug(node)
        await asyncio.sleep(10)
        assert stage.at != node

    play(story)


def test_a_short_cut_stops_nothing() -> None:
    async def story(stage: Stage) -> None:
        node = await stage.begin()
        container = stage.world.nodes[node].live()[0].view.id
        await asyncio.sleep(10)
        for _ in range(3):
            stage.world.cut(node)
            await asyncio.sleep(STOP_AFTER - 5)
            stage.world.plug(node)
            await asyncio.sleep(5)
        assert [life.view.id for life in stage.world.nodes[node].live()] == [container]

    play(story)


@pytest.mark.parametrize("hears", [True, False])
def test_one_way_cuts_double_nothing(hears: bool) -> None:
    async def story(stage: Stage) -> None:
        node = await stage.begin()
        stage.world.broker.partition(f"agent-{node}", outbound=hears, inbound=not hears)
        await stage.stops(STOP_AFTER + GRACE + 3)
        await asyncio.sleep(WHOLE + 10)
        stage.world.broker.heal(f"agent-{node}")
        await stage.world.until(lambda: bool(stage.at), 30, "it runs again")

    play(story)


def test_a_dead_agent_on_a_machine_that_lives_waits_for_a_person() -> None:
    async def story(stage: Stage) -> None:
        node = await stage.begin()
        stage.world.crash_agent(node)
        await asyncio.sleep(3 * WHOLE)
        assert stage.at == node
        controller = stage.world.controllers[stage.world.leader()]
        texts = " ".join(reason.text for reason in controller.mirror.records.rollouts[NAME].reasons)
        assert f"meshctl node confirm-dead {node}" in texts
        assert "its agent has ended" in texts
        stage.world.power_off(node)  # a person goes there and pulls the plug
        await stage.world.ask("order.give", GiveOrder(kind="node.confirm-dead", node=node))
        await stage.runs_elsewhere(node, 5)

    play(story)


@pytest.mark.parametrize("asked", [False, True], ids=["lapsed", "asked to end"])
def test_a_stop_that_an_agent_died_in_has_no_more_time_in_the_next_process(asked: bool) -> None:
    async def story(stage: Stage) -> None:
        world, grace = stage.world, 60.0
        node = await stage.begin(one("stubborn:1", grace))
        await asyncio.sleep(10)
        if asked:
            await world.ask("stack.deploy", one("app:2", grace))
            await world.until(lambda: bool(world.nodes[node].engine.stopped), 10, "its stop has begun")
        world.cut(node)
        await asyncio.sleep(STOP_AFTER + 40)
        world.crash_agent(node, advise=False)
        await asyncio.sleep(1)
        world.start_agent(node)
        took = STOP_AFTER + 41 + await world.until(lambda: not world.nodes[node].live(), grace, "it is ended")
        assert STOP_AFTER + grace - 3 <= took <= STOP_AFTER + grace + 1
        await stage.runs_elsewhere(node, WHOLE)

    play(story)


def test_an_agent_that_lost_its_notes_ends_nothing_by_not_telling_of_it() -> None:
    """A full disk; a new process of it knows of its task only once its engine answers, and obeys long before."""

    async def story(stage: Stage) -> None:
        world = stage.world
        for each in world.nodes.values():
            each.files.full = True
        node = await stage.begin()
        engine, first = world.nodes[node].engine, stage.lives[0][1]
        world.crash_agent(node)
        engine.faults.hang = True
        world.start_agent(node)
        await asyncio.sleep(5)  # long before it counts as cut off
        await world.ask("stack.deploy", one("app:2"))
        for _ in range(300):
            await asyncio.sleep(0.1)
            assert [at for at, _ in stage.lives] == [node], "its engine has not stopped it"
        engine.faults.hang = False
        await world.until(lambda: len(stage.lives) == 1 and not first.view.alive, 60, "the next one runs, alone")

    play(story)


def test_an_engine_that_hangs_and_is_then_cut_off_waits_for_its_return() -> None:
    async def story(stage: Stage) -> None:
        node = await stage.begin()
        stage.world.nodes[node].engine.faults.hang = True
        await stage.world.until(lambda: node not in stage.world.ready(), 120, "it is told")
        stage.world.cut(node)
        await asyncio.sleep(3 * WHOLE)
        assert stage.at == node
        stage.world.nodes[node].engine.faults.hang = False
        await stage.stops(30)
        stage.world.plug(node)
        await stage.world.until(lambda: bool(stage.at), 30, "it runs again")

    play(story)


def test_a_machine_without_power_is_replaced_after_the_lease_and_comes_back_empty() -> None:
    async def story(stage: Stage) -> None:
        node = await stage.begin()
        stage.world.power_off(node)
        await stage.runs_elsewhere(node, WHOLE + 6)
        stage.world.power_on(node)
        await asyncio.sleep(20)
        assert stage.at != node

    play(story)


def test_a_node_and_the_leader_lost_together_wait_from_the_takeover_on() -> None:
    async def story(stage: Stage) -> None:
        node = await stage.begin()
        await asyncio.sleep(10)
        stage.world.cut(node)
        await asyncio.sleep(STOP_AFTER)
        stage.world.crash_controller(stage.world.leader(), advise=False)
        took = await stage.runs_elsewhere(node, WHOLE + 10)
        assert took >= WHOLE, "the new leader does not know whom the old one has answered"

    play(story)


def test_draining_and_updating_stop_it_first() -> None:
    async def story(stage: Stage) -> None:
        node = await stage.begin()
        await stage.world.ask("node.update", UpdateNode(node=node, availability="drain"))
        await stage.runs_elsewhere(node, 20)
        await stage.world.ask("stack.deploy", one("app:2"))
        await asyncio.sleep(20)
        assert stage.at

    play(story)


def test_a_start_that_an_agent_was_stopped_in_comes_late_and_is_ended_at_once() -> None:
    async def story(stage: Stage) -> None:
        world = stage.world
        await world.ask("stack.deploy", one())
        await world.until(lambda: bool(stage.made), 30, "it is made")
        node = stage.made[0]
        world.stop_agent(node)
        await stage.runs_elsewhere(node, WHOLE + 6)
        world.continue_agent(node)
        lives = world.nodes[node].engine.lives.values()
        late = next(life for life in lives if life.view.labels.get("mesh.service") == NAME)
        await world.until(lambda: late.view.started_at > 0, 1, "its start comes late: that is not promised")
        await world.until(lambda: len(world.running(NAME)) == 1, 0.1, "its lease, and the grace after it, are over")
        assert stage.at != node

    play(story)


PLANTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "the leader does not wait": lambda patch: patch.setattr(census, "held_until", lambda *_: 0.0),
    "the agent does not stop": lambda patch: patch.setattr(leases, "standing_of", lambda *_: "free"),
}


@pytest.mark.parametrize("bug", PLANTS)
def test_the_watchman_catches(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(stage: Stage) -> None:
        stage.world.cut(await stage.begin())
        await asyncio.sleep(2 * WHOLE)

    PLANTS[bug](monkeypatch)
    with pytest.raises(BaseExceptionGroup) as caught:
        play(story)
    assert caught.group_contains(Violated, match="runs twice")
