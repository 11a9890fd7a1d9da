"""A leader asks agents that it knows nothing of what they hold, and takes from nobody by their word."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from msgspec.structs import replace

from bus.commits import Put
from bus.memory import MemoryBroker
from bus.users import agent_user
from controller.readopting import Readopter
from schemas import subjects
from schemas.assignment import Applied, AssignedTask, Assignment
from schemas.liveness import HEARTBEAT_PERIOD, Heartbeat
from schemas.memberapi import Join, Joined
from schemas.nodeapi import AssignmentView
from schemas.observation import NodeFacts, Observation, ObservedTask
from schemas.replies import open_reply, reply_with
from schemas.serviceapi import ServiceDeploy
from schemas.wire import encode
from tests.sim.loop import run
from tests.unit.controller_shell.pretend import Mesh, ready, spec

WEB = ServiceDeploy(spec=spec("shop_web", "shop"), replicas=2)


class Liar:
    """The agent of n3, a fresh member of a mesh that was restored once: it tells what it likes."""

    def __init__(self, mesh: Mesh, roots: str, *slots: str) -> None:
        self.bus = mesh.broker.connect(agent_user("n3"))
        leader = mesh.leader()
        assert leader is not None
        wanted = leader.mirror.records.revisions["shop_web", 1].spec.task
        tasks = tuple(
            AssignedTask(id=f"{roots}-{slot}", service="shop_web", slot=slot, revision=1, spec=wanted.hash)
            for slot in slots
        )
        self.told = Assignment(node="n3", epoch=1, tasks=tasks, specs={wanted.hash: wanted})
        self.asked = 0

    async def run(self) -> None:
        """Join, show its tasks up, and be heard."""
        join = Join(node="n3", instance="i3")
        data = await self.bus.core.request(subjects.agent_api("n3", "join"), encode(join), timeout=5)
        open_reply(data, Joined)
        tasks = tuple(
            ObservedTask(id=each.id, service=each.service, slot=each.slot, revision=1, spec=each.spec, state="running")
            for each in self.told.tasks
        )
        facts = NodeFacts(hostname="n3", architecture="x86_64")
        seen = Observation(node="n3", instance="i3", boot="b", counter=1, facts=facts, tasks=tasks)
        await self.bus.observed.commit([Put("n3", encode(seen))])
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beat())
            group.create_task(self._tell())

    async def _beat(self) -> None:
        applied, count = Applied(generation=1, sequence=1), 0
        beat = Heartbeat(node="n3", instance="i3", boot="b", count=0, applied=applied, observed=1)
        while True:
            count += 1
            await self.bus.core.request(subjects.heartbeat("n3"), encode(replace(beat, count=count)), timeout=1)
            await asyncio.sleep(HEARTBEAT_PERIOD)

    async def _tell(self) -> None:
        async with self.bus.core.subscribe(subjects.node_request("n3", "assignment")) as questions:
            async for message in questions:
                self.asked += 1
                view = AssignmentView(node="n3", mesh_id="m1", instance="i3", assignment=self.told)
                await self.bus.core.respond(message, reply_with(view))


def named(mesh: Mesh) -> dict[str, str]:
    leader = mesh.leader()
    stored = leader.mirror.records.assignments.get("n3") if leader else None
    return {task.id: task.desired for task in stored.record.tasks} if stored else {}


Scenario = Callable[[Mesh, asyncio.TaskGroup], Awaitable[None]]


def play(scenario: Scenario) -> None:
    """On a mesh that was restored once, with two nodes."""

    async def story() -> None:
        async with asyncio.TaskGroup() as group:
            broker = MemoryBroker(random.Random(7), create=False)
            broker.create_mesh("m1", generation=2)
            mesh = Mesh(group, broker)
            mesh.start_controller("c1")
            for node in ("n1", "n2"):
                mesh.start_agent(node)
            await ready(mesh)
            await scenario(mesh, group)
            mesh.stop()

    run(story())


@pytest.mark.parametrize(
    ("roots", "becomes"),
    [("zzzzz", {}), ("1", {"1-1": "shutdown", "1-2": "shutdown", "1-7": "shutdown"})],
)
def test_a_fresh_node_takes_no_tasks_from_others_by_its_word(roots: str, becomes: dict[str, str]) -> None:
    async def scenario(mesh: Mesh, group: asyncio.TaskGroup) -> None:
        await mesh.deploy(WEB)
        await mesh.until(lambda: len(mesh.running("shop_web")) == 2)
        await asyncio.sleep(3)
        before = {node: dict(agent.running) for node, agent in mesh.agents.items()}
        liar = Liar(mesh, roots, "1", "2", "7")
        lying = group.create_task(liar.run())
        await mesh.until(lambda: liar.asked > 0)
        await asyncio.sleep(10)
        assert {node: agent.running for node, agent in mesh.agents.items()} == before
        assert named(mesh) == becomes
        lying.cancel()

    play(scenario)


def test_nothing_is_taken_over_while_a_round_is_being_stored() -> None:
    """It has decided by what the mirror shows: a slot that it fills just then would be filled twice."""

    async def scenario(mesh: Mesh, group: asyncio.TaskGroup) -> None:
        await mesh.deploy(WEB)
        await mesh.until(lambda: len(mesh.running("shop_web")) == 2)
        leader = await mesh.led()
        liar = Liar(mesh, "1", "7")
        async with leader.leader._storing.turn:
            lying = group.create_task(liar.run())
            await mesh.until(lambda: liar.asked > 0)
            await asyncio.sleep(5)
            assert named(mesh) == {}
        await mesh.until(lambda: named(mesh) == {"1-7": "shutdown"}, 5)
        lying.cancel()

    play(scenario)


def test_nothing_is_taken_over_if_the_store_became_doubtful_while_a_round_was_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(mesh: Mesh, group: asyncio.TaskGroup) -> None:
        await mesh.deploy(WEB)
        await mesh.until(lambda: len(mesh.running("shop_web")) == 2)
        leader = await mesh.led()
        liar = Liar(mesh, "1", "7")
        async with leader.leader._storing.turn:
            lying = group.create_task(liar.run())
            await mesh.until(lambda: liar.asked > 0)
            monkeypatch.setattr(Readopter, "_doubtful", True)
            await asyncio.sleep(1)
        await asyncio.sleep(5)
        assert named(mesh) == {}
        monkeypatch.undo()
        await mesh.until(lambda: named(mesh) == {"1-7": "shutdown"}, 5)
        lying.cancel()

    play(scenario)
