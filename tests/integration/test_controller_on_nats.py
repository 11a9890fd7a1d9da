"""Controllers over a real nats-server, with pretend agents: election, rounds, api and events as in the mesh."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from bus.commits import Fence, Fenced, Put
from bus.nats import connect
from bus.nats_admin import create_mesh
from bus.port import Bus, From
from controller.config import Config
from controller.controller import Controller
from controller.highest import FileMemory
from controller.plan import plan
from schemas import subjects
from schemas.api import REQUESTS
from schemas.clock import SystemClock
from schemas.errors import ImageUnavailable
from schemas.events import Event
from schemas.replies import open_reply
from schemas.serviceapi import ServiceDeploy
from schemas.stackapi import DeployStack, RemoveStack
from schemas.statusapi import GetStatus
from schemas.wire import Wire, decode, encode
from tests.conftest import NatsServer
from tests.unit.controller_shell.pretend import PretendAgent, spec


class RealMesh:
    """Controllers 1.. and agents n1.. with connections of their own."""

    def __init__(self, server: NatsServer, folder: Path, group: asyncio.TaskGroup) -> None:
        self.controllers: dict[str, Controller] = {}
        self.agents: dict[str, PretendAgent] = {}
        self._server = server
        self._folder = folder
        self._group = group
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def start(self, controllers: int, agents: int) -> None:
        """Everybody comes, and somebody leads."""
        for number in range(1, controllers + 1):
            self._start(str(number), self._controller(str(number)))
        for number in range(1, agents + 1):
            self._start(f"n{number}", self._agent(f"n{number}"))
        await self.until(self.led)
        await self.until(lambda: all(each.mirror.observed.ready.is_set() for each in self.controllers.values()))

    def led(self) -> bool:
        """Whether somebody leads whose rounds run."""
        return any(each.leads and each.hearing.epoch for each in self.controllers.values())

    def leader(self) -> Controller:
        """Who leads."""
        return next(each for each in self.controllers.values() if each.leads)

    async def kill(self, name: str) -> None:
        """End a process without a word."""
        self.controllers.pop(name, None)
        self.agents.pop(name, None)
        self._tasks.pop(name).cancel()
        await asyncio.sleep(0)

    def stop(self) -> None:
        """End everything."""
        for task in self._tasks.values():
            task.cancel()

    async def until(self, holds: object, seconds: float = 20.0) -> float:
        """Wait until something holds; the seconds that it took."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        while not holds():  # type: ignore[operator]
            assert loop.time() - started < seconds, f"not within {seconds} s"
            await asyncio.sleep(0.02)
        return loop.time() - started

    def running(self) -> list[str]:
        """What runs, as service.slot."""
        return sorted(slot for agent in self.agents.values() for slot in agent.running.values())

    def _start(self, name: str, work: object) -> None:
        self._tasks[name] = self._group.create_task(work, name=name)  # type: ignore[arg-type]

    async def _controller(self, name: str) -> None:
        async with connect(self._server.credentials(f"controller-{name}"), timeout=10) as bus:
            self.controllers[name] = Controller(
                Config(name),
                bus,
                clock=SystemClock(),
                rng=random.Random(),
                memory=FileMemory(self._folder / name),
                plan=plan,
            )
            await self.controllers[name].run()

    async def _agent(self, node: str) -> None:
        async with connect(self._server.credentials(f"agent-{node}"), timeout=10) as bus:
            self.agents[node] = PretendAgent(bus, node)
            await self.agents[node].run()


async def ask(bus: Bus, name: str, request: Wire) -> object:
    """A request to the api."""
    noun, verb = name.split(".")
    data = await bus.core.request(subjects.api(noun, verb), encode(request), timeout=20)
    return open_reply(data, REQUESTS[name][1])


def shop(*services: ServiceDeploy) -> DeployStack:
    """Stack "shop"."""
    return DeployStack(stack="shop", services=services)


@pytest.fixture
async def real_mesh(nats_server: NatsServer, tmp_path: Path):  # type: ignore[no-untyped-def]
    """Three controllers and three agents on a real server, and the operator's connection."""
    await create_mesh(nats_server.credentials("operator"), "m1")
    async with AsyncExitStack() as stack:
        operator = await stack.enter_async_context(connect(nats_server.credentials("operator"), timeout=10))
        async with asyncio.TaskGroup() as group:
            mesh = RealMesh(nats_server, tmp_path / "data", group)
            await mesh.start(3, 3)
            yield mesh, operator
            mesh.stop()


async def test_a_stack_runs_survives_a_killed_leader_and_is_removed(real_mesh: tuple[RealMesh, Bus]) -> None:
    mesh, operator = real_mesh
    wanted = shop(ServiceDeploy(spec=spec("shop_web", "shop"), replicas=6))
    await ask(operator, "stack.deploy", wanted)
    await mesh.until(lambda: len(mesh.running()) == 6)
    old = mesh.leader()
    epoch = old.elector.election.epoch
    await mesh.kill(old.config.name)
    assert await mesh.until(lambda: any(each.leads for each in mesh.controllers.values())) < 3
    stale = await operator.state.commit([Put(subjects.desired_key("n1"), b"{}")], Fence(epoch))
    assert isinstance(stale, Fenced)
    assert await ask(operator, "status.get", GetStatus())
    await ask(operator, "stack.deploy", shop(ServiceDeploy(spec=spec("shop_web", "shop"), replicas=8)))
    await mesh.until(lambda: len(mesh.running()) == 8)
    assert len(set(mesh.running())) == 8
    await ask(operator, "stack.remove", RemoveStack(stack="shop"))
    await mesh.until(lambda: not mesh.running())
    await mesh.until(lambda: not mesh.leader().mirror.records.services)
    kinds = await kinds_told(operator, until="service.gone")
    assert kinds.count("task.assigned") == 8
    assert {"leadership.taken", "node.joined", "node.ready", "service.scaled", "stack.removed"} <= set(kinds)


async def test_an_image_that_no_node_has_fails_the_deploy_with_each_nodes_reason(
    real_mesh: tuple[RealMesh, Bus],
) -> None:
    mesh, operator = real_mesh
    await mesh.until(lambda: len(mesh.leader().mirror.records.nodes) == 3)
    with pytest.raises(ImageUnavailable, match="n1, n2, n3: no such image"):
        await ask(operator, "stack.deploy", shop(ServiceDeploy(spec=spec("shop_web", "shop", image="nothing:1"))))


async def test_a_leader_that_stops_hands_over_within_moments(real_mesh: tuple[RealMesh, Bus]) -> None:
    mesh, _ = real_mesh
    old = mesh.leader()
    old.stop()
    assert await mesh.until(lambda: any(each.leads for each in mesh.controllers.values() if each is not old)) < 1.0
    await mesh.kill(old.config.name)
    await mesh.until(mesh.led)


async def kinds_told(bus: Bus, until: str) -> list[str]:
    """The kinds of all events, up to the first of kind `until`."""
    kinds: list[str] = []
    async with asyncio.timeout(10), bus.events.read(From(after=0)) as events:
        while until not in kinds:
            kinds.append(decode((await events.next()).data, Event).kind)
    return kinds
