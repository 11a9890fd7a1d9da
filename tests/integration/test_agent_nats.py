"""An agent over a real nats-server and a real disk; the engine is in memory, the test plays the leader."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from agent.agent import Agent
from agent.engine.memory import MemoryEngine
from agent.files import DataDirectory
from agent.parts import AgentConfig
from bus.commits import Committed, Put
from bus.nats import connect, open_bus
from bus.nats_admin import create_mesh
from bus.port import From
from schemas import subjects
from schemas.assignment import AssignedTask, Assignment
from schemas.clock import SystemClock
from schemas.errors import Unreachable
from schemas.events import EventBatch
from schemas.observation import Observation
from schemas.spec import ContainerSpec, TaskSpec
from schemas.wire import decode, encode
from tests.conftest import NatsServer
from tests.unit.agent.rehearsal import Leader

SPEC = TaskSpec(container=ContainerSpec(image="web:1"))


class Gone(Exception):
    """The test wants it to end."""


def _engine() -> MemoryEngine:
    engine = MemoryEngine(chance=random.Random(1), clock=SystemClock())
    engine.add_image("web:1")
    return engine


@asynccontextmanager
async def _agent(server: NatsServer, engine: MemoryEngine, data: Path) -> AsyncIterator[Agent]:
    files = DataDirectory(data)
    try:
        async with open_bus(server.credentials("agent-n1"), rng=random.Random(3)) as bus:
            config = AgentConfig(node="n1", boot="b")
            agent = Agent(config, bus, engine, files, SystemClock(), random.Random(4))
            async with asyncio.TaskGroup() as group:
                group.create_task(agent.run())
                yield agent
                raise Gone
    except* Gone:
        pass
    finally:
        files.close()


@asynccontextmanager
async def _leader(server: NatsServer) -> AsyncIterator[Leader]:
    async with connect(server.credentials("controller-1"), timeout=5) as bus:
        leader = Leader(bus)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(leader.run())
                await asyncio.sleep(0.1)
                yield leader
                raise Gone
        except* Gone:
            pass


async def _put(leader: Leader, *tasks: AssignedTask) -> None:
    record = Assignment(node="n1", epoch=1, tasks=tasks, specs={SPEC.hash: SPEC})
    assert isinstance(await leader.bus.state.commit([Put(subjects.desired_key("n1"), encode(record))]), Committed)


async def _until_state(leader: Leader, task: str, state: str) -> None:
    async with asyncio.timeout(20):
        while True:
            with suppress(Unreachable):
                entry = await leader.bus.observed.read("n1")
                tasks = decode(entry.value, Observation).tasks if entry and entry.value else ()
                if any((one.id, one.state) == (task, state) for one in tasks):
                    return
            await asyncio.sleep(0.05)


def _task(id_: str) -> AssignedTask:
    return AssignedTask(id=id_, service="web", slot="1", revision=1, spec=SPEC.hash)


async def test_an_agent_follows_its_assignment_over_a_real_server(nats_server: NatsServer, tmp_path: Path) -> None:
    await create_mesh(nats_server.credentials("operator"), "m1")
    engine = _engine()
    async with _leader(nats_server) as leader, _agent(nats_server, engine, tmp_path / "data"):
        await _put(leader, _task("1-1"))
        await _until_state(leader, "1-1", "running")
        async with leader.bus.events.read(From(after=0)) as events, asyncio.timeout(10):
            kinds: list[str] = []
            while "task.started" not in kinds:
                batch = decode((await events.next()).data, EventBatch)
                kinds += [event.kind for event in batch.events]
        assert kinds[0] == "agent.started"
        await _put(leader)
        async with asyncio.timeout(20):
            while any(life.view.alive for life in engine.lives.values()):
                await asyncio.sleep(0.05)


async def test_an_agent_waits_for_a_server_and_outlives_its_restart(nats_server: NatsServer, tmp_path: Path) -> None:
    await create_mesh(nats_server.credentials("operator"), "m1")
    await asyncio.to_thread(nats_server.stop)
    engine = _engine()
    async with _agent(nats_server, engine, tmp_path / "data") as agent:
        await asyncio.sleep(0.5)
        await asyncio.to_thread(nats_server.start)
        async with _leader(nats_server) as leader:
            await _put(leader, _task("1-1"))
            await _until_state(leader, "1-1", "running")
            await asyncio.to_thread(nats_server.kill)
            await asyncio.sleep(0.5)
            next(iter(engine.lives.values())).end(4)
            await asyncio.to_thread(nats_server.start)
            await _until_state(leader, "1-1", "failed")
            assert agent.membership.confirmed
