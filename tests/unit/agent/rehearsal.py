"""A stage for whole agents in virtual time: a bus and an engine in memory, and a leader that the test plays."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.agent import Agent
from agent.engine.labels import Owner
from agent.engine.memory import MemoryEngine
from agent.engine.memory_images import MemoryRegistry
from agent.engine.memory_life import Program
from agent.engine.model import Container
from agent.engine.port import Engine
from agent.files import Files, MemoryFiles
from agent.parts import AgentConfig
from bus.commits import Committed, Put
from bus.memory import LoopClock, MemoryBroker
from bus.port import Bus, From
from schemas import subjects
from schemas.assignment import AssignedTask, Assignment
from schemas.errors import BadMessage, MeshError, Refused
from schemas.events import Event, EventBatch
from schemas.liveness import Heartbeat, HeartbeatAnswer
from schemas.memberapi import Join, Joined
from schemas.observation import Observation, ObservedTask
from schemas.replies import open_reply, reply_error, reply_with
from schemas.spec import ContainerSpec, TaskSpec
from schemas.wire import decode, encode
from tests.sim.loop import run

NODE = "n1"
OWNER = Owner("memory", NODE)
IMAGE = "web:1"


class Crash(BaseException):
    """The agent's process is killed at this very point."""


class Gone(Exception):
    """The test wants the agent's process to end."""


def spec_of(image: str = IMAGE, **fields: Any) -> TaskSpec:
    """A small spec; `restart` and the like go to the task, the rest to the container."""
    task = {name: fields.pop(name) for name in ("restart", "limits", "pre_start", "stop_after") if name in fields}
    return TaskSpec(container=ContainerSpec(image=image, **fields), **task)


def assigned(id_: str, spec: TaskSpec, *, service: str = "web", slot: str = "1", **fields: Any) -> AssignedTask:
    """One attempt to fill a slot."""
    return AssignedTask(id=id_, service=service, slot=slot, revision=1, spec=spec.hash, **fields)


@dataclass
class Leader:
    """The leader as the test plays it: answers while it is not silent."""

    bus: Bus
    silent: bool = False
    refused: str = ""
    join_refused: str = ""
    garbage: bytes = b""
    """What heartbeats are answered with, instead of an answer."""
    desired: int = 0
    generation: int = 1
    lease: bool = False
    beats: list[Heartbeat] = field(default_factory=list)

    async def run(self) -> None:
        async with (
            self.bus.core.subscribe("mesh.heartbeat.*") as beats,
            self.bus.core.subscribe("mesh.agentapi.*.join") as joins,
            asyncio.TaskGroup() as group,
        ):
            group.create_task(self._answer(beats))
            group.create_task(self._welcome(joins))

    async def _answer(self, beats: Any) -> None:
        async for message in beats:
            beat = decode(message.data, Heartbeat)
            self.beats.append(beat)
            if self.silent:
                continue
            answer = HeartbeatAnswer(
                count=beat.count,
                epoch=1,
                generation=self.generation,
                desired=self.desired,
                refused=self.refused,
                lease=self.lease,
            )
            await self.bus.core.respond(message, self.garbage or encode(answer))

    async def _welcome(self, joins: Any) -> None:
        async for message in joins:
            if self.silent:
                continue
            decode(message.data, Join)
            if self.join_refused:
                await self.bus.core.respond(message, reply_error(Refused(self.join_refused)))
            else:
                await self.bus.core.respond(message, reply_with(Joined(mesh_id="memory", generation=1, sequence=0)))


class Rehearsal:
    """The stage. The engine and the files outlive each agent's process."""

    def __init__(self) -> None:
        self.clock = LoopClock()
        self.chance = random.Random(7)
        self.broker = MemoryBroker(random.Random(1), clock=self.clock)
        self.registry = MemoryRegistry()
        self.engine = MemoryEngine(chance=random.Random(2), clock=self.clock, registry=self.registry)
        self.files = MemoryFiles()
        self.leader = Leader(self.broker.connect("controller-1"))
        self.group: asyncio.TaskGroup
        self.engine.add_image(IMAGE)

    async def put(self, *tasks: AssignedTask, specs: Sequence[TaskSpec], generation: int = 1, node: str = NODE) -> int:
        """The leader's assignment; its sequence."""
        record = Assignment(
            node=node, epoch=1, generation=generation, tasks=tasks, specs={spec.hash: spec for spec in specs}
        )
        return await self.put_raw(encode(record), node=node)

    async def put_raw(self, data: bytes, *, node: str = NODE) -> int:
        """Any bytes as the assignment; their sequence."""
        outcome = await self.leader.bus.state.commit([Put(subjects.desired_key(node), data)])
        assert isinstance(outcome, Committed)
        return outcome.sequence

    async def observation(self) -> Observation | None:
        """What the node's agent has told."""
        entry = await self.leader.bus.observed.read(NODE)
        return decode(entry.value, Observation) if entry and entry.value else None

    async def observed(self, task: str) -> ObservedTask | None:
        """One task of it."""
        record = await self.observation()
        return next((one for one in record.tasks if one.id == task), None) if record else None

    async def events(self) -> list[Event]:
        """All that agents have told and the log holds, in order."""
        found: list[Event] = []
        async with self.leader.bus.events.read(From(after=0)) as reader:
            with contextlib.suppress(TimeoutError):
                while True:
                    async with asyncio.timeout(0.5):
                        message = await reader.next()
                    with contextlib.suppress(BadMessage):
                        found.extend(decode(message.data, EventBatch).events)
        return found

    async def kinds(self, task: str) -> list[str]:
        """The kinds of events told of a task, each event once."""
        seen = {event.id: event.kind for event in await self.events() if event.task == task}
        return list(seen.values())

    def container(self, task: str) -> Container | None:
        """The task's container on the engine."""
        views = [life.view for life in self.engine.lives.values()]
        return next((view for view in views if view.labels.get("mesh.task") == task), None)

    def alive(self) -> list[str]:
        """The tasks whose containers run."""
        views = (life.view for life in self.engine.lives.values())
        return sorted(view.labels.get("mesh.task", "?") for view in views if view.alive)

    async def until(self, what: Callable[[], Any], within: float = 30.0) -> Any:
        """Wait (in virtual time) until that holds; what it gave."""
        async with asyncio.timeout(within):
            while True:
                found = what()
                if asyncio.iscoroutine(found):
                    found = await found
                if found:
                    return found
                await asyncio.sleep(0.05)

    async def until_state(self, task: str, state: str, within: float = 30.0) -> ObservedTask:
        """Wait until the mesh is told that the task is in that state."""

        async def look() -> ObservedTask | None:
            seen = await self.observed(task)
            return seen if seen and seen.state == state else None

        found: ObservedTask = await self.until(look, within)
        return found

    async def ask(self, verb: str, request: object, kind: type[Any]) -> Any:
        """A request to the agent, as an operator makes it."""
        data = request if isinstance(request, bytes) else encode(request)
        answer = await self.leader.bus.core.request(subjects.node_request(NODE, verb), data, timeout=60)
        return open_reply(answer, kind)

    @contextlib.asynccontextmanager
    async def agent(
        self, *, engine: Engine | None = None, files: Files | None = None, boot: str = "boot-1", node: str = NODE
    ) -> AsyncIterator[Agent]:
        """An agent's process, from its start to being killed."""
        user = f"agent-{node}"
        bus = self.broker.connect(user)
        agent = Agent(
            AgentConfig(node=node, boot=boot), bus, engine or self.engine, files or self.files, self.clock, self.chance
        )
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(agent.run())
                yield agent
                raise Gone
        except* Gone:
            pass
        finally:
            self.broker.kill(user)

    async def crash(self, *, engine: Engine, files: Files | None = None, within: float = 60.0) -> bool:
        """Run an agent until it crashes by itself; False: it did not."""
        bus = self.broker.connect("agent-n1")
        agent = Agent(AgentConfig(node=NODE, boot="boot-1"), bus, engine, files or self.files, self.clock, self.chance)
        crashed = False
        try:
            async with asyncio.timeout(within):
                await agent.run()
        except* Crash:
            crashed = True
        except* TimeoutError:
            pass
        self.broker.kill("agent-n1")
        return crashed


def play(scene: Callable[[Rehearsal], Coroutine[Any, Any, None]]) -> None:
    """Run a scene on a fresh stage in virtual time, with the leader there."""

    async def main() -> None:
        stage = Rehearsal()
        try:
            async with asyncio.TaskGroup() as group:
                stage.group = group
                group.create_task(stage.leader.run())
                await asyncio.sleep(0.01)
                await scene(stage)
                raise Gone
        except* Gone:
            pass

    run(main())


__all__ = ["IMAGE", "NODE", "OWNER", "Crash", "MeshError", "Program", "Rehearsal", "assigned", "play", "spec_of"]
