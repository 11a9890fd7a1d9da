"""A mesh in memory for the shell's tests: real controllers, and agents that pretend: what is assigned to them runs."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from bus.commits import Committed, Put
from bus.memory import LoopClock, MemoryBroker
from bus.port import Bus
from bus.users import agent_user, controller_user
from controller.config import Config
from controller.controller import Controller
from controller.highest import ForgetfulMemory
from controller.plan import plan
from schemas import subjects
from schemas.api import REQUESTS
from schemas.assignment import Applied, Assignment
from schemas.errors import BadMessage, MeshError, Unreachable
from schemas.liveness import HEARTBEAT_PERIOD, Heartbeat, HeartbeatAnswer
from schemas.memberapi import Join, Joined
from schemas.nodeapi import ResolvedImage, ResolveImage
from schemas.observation import NodeFacts, Observation, ObservedTask
from schemas.replies import open_reply, reply_with
from schemas.serviceapi import DeployAnswer, ServiceDeploy
from schemas.spec import ContainerSpec, Mode, ServiceSpec, TaskSpec
from schemas.stackapi import DeployStack
from schemas.taskapi import ListTasks, TaskList, TaskView
from schemas.wire import Wire, decode, encode

A = TypeVar("A", bound=Wire)

CONFIG_ID = "sha256:" + "ab" * 32


def spec(name: str, stack: str = "", *, image: str = "app:1", mode: Mode = "replicated", **more: Any) -> ServiceSpec:
    """A small service; `more` is for its container."""
    return ServiceSpec(name=name, stack=stack, mode=mode, task=TaskSpec(container=ContainerSpec(image=image, **more)))


def stack_of(*services: ServiceDeploy, **more: Any) -> DeployStack:
    """Stack "shop"."""
    return DeployStack(stack="shop", services=services, **more)


class PretendAgent:
    """Joins, beats, runs what it is told to run (at once), ends what it is told to end."""

    def __init__(self, bus: Bus, node: str, *, instance: str = "") -> None:
        self.bus = bus
        self.node = node
        self.instance = instance or f"instance-{node}"
        self.running: dict[str, str] = {}
        """Task id -> slot, of what runs."""
        self.ever: list[str] = []
        self.images = {"app:1": CONFIG_ID, "app:2": CONFIG_ID.replace("ab", "cd")}
        self.answer: HeartbeatAnswer | None = None
        self.applied = Applied()
        self._observed: dict[str, ObservedTask] = {}
        self._counter = 0

    async def join(self) -> Joined:
        """Ask to become a member. Raises what the controller says."""
        request = Join(node=self.node, instance=self.instance, facts=NodeFacts(hostname=self.node))
        data = await self.bus.core.request(subjects.agent_api(self.node, "join"), encode(request), timeout=5)
        return open_reply(data, Joined)

    async def run(self) -> None:
        """Be an agent for ever."""
        while True:
            try:
                await self.join()
                break
            except Unreachable:
                await asyncio.sleep(0.2)
        await self.observe()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beat())
            group.create_task(self._follow())
            group.create_task(self._resolve())

    async def _beat(self) -> None:
        count = 0
        while True:
            count += 1
            beat = Heartbeat(
                node=self.node,
                instance=self.instance,
                boot="boot",
                count=count,
                applied=self.applied,
                observed=self._counter,
            )
            try:
                data = await self.bus.core.request(subjects.heartbeat(self.node), encode(beat), timeout=0.5)
                self.answer = decode(data, HeartbeatAnswer)
            except Unreachable:
                pass
            await asyncio.sleep(HEARTBEAT_PERIOD)

    async def _follow(self) -> None:
        async with self.bus.state.watch(subjects.desired_key(self.node)) as watch:
            while True:
                await self._obey()
                try:
                    async with asyncio.timeout(1.0):
                        await watch.next()
                except TimeoutError:
                    pass

    async def _obey(self) -> None:
        try:
            entry = await self.bus.state.read_near(subjects.desired_key(self.node))
        except MeshError:
            return
        if entry is None or entry.value is None:
            return
        try:
            assignment = decode(entry.value, Assignment)
        except BadMessage:
            return
        pair = (assignment.generation, entry.sequence)
        if pair <= self.applied.pair:
            return
        self.applied = Applied(generation=pair[0], sequence=pair[1])
        for task in assignment.tasks:
            state = "running" if task.desired == "running" else "exited"
            if task.desired == "running" and task.id not in self.ever:
                self.ever.append(task.id)
            self._observed[task.id] = ObservedTask(
                id=task.id,
                service=task.service,
                slot=task.slot,
                revision=task.revision,
                spec=task.spec,
                state="running" if state == "running" else "exited",
                stack=task.stack,
                container="c" + task.id,
            )
        named = {task.id for task in assignment.tasks}
        self._observed = {id_: seen for id_, seen in self._observed.items() if id_ in named}
        wanted = [task for task in assignment.tasks if task.desired == "running"]
        self.running = {task.id: f"{task.service}.{task.slot}" for task in wanted}
        await self.observe()

    async def observe(self) -> None:
        """Store the observation, however long that takes."""
        self._counter += 1
        observation = Observation(
            node=self.node,
            instance=self.instance,
            boot="boot",
            counter=self._counter,
            applied=self.applied,
            tasks=tuple(self._observed.values()),
            facts=NodeFacts(hostname=self.node, cpus=4, memory=8 << 30, architecture="x86_64"),
        )
        while not isinstance(await self.bus.observed.commit([Put(self.node, encode(observation))]), Committed):
            await asyncio.sleep(0.1)

    async def _resolve(self) -> None:
        async with self.bus.core.subscribe(subjects.node_request(self.node, "image_resolve")) as questions:
            async for message in questions:
                asked = decode(message.data, ResolveImage)
                found = self.images.get(asked.image, "")
                answer = ResolvedImage(
                    node=self.node, image_id=found, present=bool(found), error="" if found else "no such image"
                )
                await self.bus.core.respond(message, reply_with(answer))


class Mesh:
    """Controllers and agents on one broker; what runs is owned by `group`."""

    def __init__(self, group: asyncio.TaskGroup, broker: MemoryBroker) -> None:
        self.broker = broker
        self.controllers: dict[str, Controller] = {}
        self.agents: dict[str, PretendAgent] = {}
        self.memories: dict[str, ForgetfulMemory] = {}
        self.operator = broker.connect("operator")
        self._group = group
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start_controller(self, name: str) -> Controller:
        """A controller comes (back); what it remembered on disk is still there."""
        memory = self.memories.setdefault(name, ForgetfulMemory())
        bus = self.broker.connect(controller_user(name))
        controller = Controller(Config(name), bus, clock=LoopClock(), rng=random.Random(name), memory=memory, plan=plan)
        self.controllers[name] = controller
        self._tasks[name] = self._group.create_task(controller.run(), name=name)
        return controller

    def start_agent(self, node: str, **more: Any) -> PretendAgent:
        """An agent comes (back)."""
        agent = PretendAgent(self.broker.connect(agent_user(node)), node, **more)
        self.agents[node] = agent
        self._tasks[node] = self._group.create_task(agent.run(), name=node)
        return agent

    async def kill(self, name: str, *, advise: bool = True) -> None:
        """A process is dead at once."""
        controller = self.controllers.pop(name, None)
        self.agents.pop(name, None)
        self._tasks.pop(name).cancel()
        self.broker.kill(controller_user(name) if controller else agent_user(name), advise=advise)
        await asyncio.sleep(0)

    def leader(self) -> Controller | None:
        """Who leads, if it is one alone."""
        leading = [each for each in self.controllers.values() if each.leads]
        return leading[0] if len(leading) == 1 else None

    async def led(self) -> Controller:
        """Who leads, once somebody does and rounds run."""
        await self.until(lambda: self.leader() is not None and self.leader().hearing.epoch > 0)  # type: ignore[union-attr]
        leader = self.leader()
        assert leader is not None
        return leader

    async def until(self, holds: Callable[[], bool], seconds: float = 30.0) -> float:
        """Wait until something holds; the seconds that it took."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        while not holds():
            assert loop.time() - started < seconds, f"not within {seconds} s"
            await asyncio.sleep(0.01)
        return loop.time() - started

    async def ask(self, name: str, request: Wire, answer: type[A] | None = None) -> Any:
        """A request to the api. Raises what it says."""
        noun, verb = name.split(".")
        data = await self.operator.core.request(subjects.api(noun, verb), encode(request), timeout=40)
        return open_reply(data, answer or REQUESTS[name][1])

    async def deploy(self, *services: ServiceDeploy, **more: Any) -> DeployAnswer:
        """Stack "shop" with these services."""
        answer: DeployAnswer = await self.ask("stack.deploy", stack_of(*services, **more))
        return answer

    async def tasks(self, **filters: Any) -> list[TaskView]:
        """task.list."""
        answer: TaskList = await self.ask("task.list", ListTasks(**filters))
        return list(answer.tasks)

    def running(self, service: str) -> list[str]:
        """The slots of a service that run anywhere, sorted; a slot that runs twice stands there twice."""
        slots = (slot for agent in self.agents.values() for slot in agent.running.values())
        return sorted(slot.partition(".")[2] for slot in slots if slot.partition(".")[0] == service)

    def events(self, kind: str = "") -> list[str]:
        """The ids of events told so far, of one kind or all."""
        return [
            event.data.decode() for event in self.broker.events.log if event.subject.startswith(f"mesh.event.{kind}")
        ]

    def stop(self) -> None:
        """End everything."""
        for task in self._tasks.values():
            task.cancel()


@asynccontextmanager
async def mesh_of(controllers: int = 2, agents: int = 2, **broker: Any) -> AsyncIterator[Mesh]:
    """A mesh that runs, with controllers c1.. and agents n1.."""
    async with asyncio.TaskGroup() as group:
        mesh = Mesh(group, MemoryBroker(random.Random(7), mesh_id="m1", **broker))
        for number in range(1, controllers + 1):
            mesh.start_controller(f"c{number}")
        for number in range(1, agents + 1):
            mesh.start_agent(f"n{number}")
        try:
            yield mesh
        finally:
            mesh.stop()


async def ready(mesh: Mesh) -> None:
    """Until somebody leads and all nodes are ready."""
    await mesh.led()
    await mesh.until(lambda: _verdicts(mesh) <= {"ready"})


def _verdicts(mesh: Mesh) -> set[str]:
    leader = mesh.leader()
    found = leader.mirror.records.liveness if leader else {}
    return {found[node].verdict if node in found else "" for node in mesh.agents}
