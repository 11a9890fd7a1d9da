"""A whole mesh in one virtual machine room: real controllers and real agents over the buses and engines in memory.

Everything that may happen to a machine is a method here; chance comes from one seed. Processes are tasks of one
group: a crash is a cancellation after the process's connection has been cut, so that nothing it says on its way out
is heard.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog

from agent.agent import Agent
from agent.engine.memory_images import MemoryRegistry
from agent.engine.memory_life import Life
from agent.parts import AgentConfig
from agent.surroundings import Machine
from bus.memory import LoopClock, MemoryBroker
from bus.users import agent_user, controller_user
from controller.changes import Plan
from controller.config import Config
from controller.controller import Controller
from controller.highest import ForgetfulMemory
from controller.plan import plan as decide
from controller.world import Dirty
from controller.world import World as Known
from schemas import subjects
from schemas.api import REQUESTS
from schemas.errors import MeshError
from schemas.replies import open_reply
from schemas.wire import Wire, encode
from tests.sim.basis import Basis
from tests.sim.loop import SimLoop
from tests.sim.machines import Disk, Node, SkewedClock, new_engine
from tests.sim.suspension import context_of


def silence_logs() -> None:
    """Thousands of runs: only what is critical is said."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


@dataclass
class World:
    """The machine room."""

    rng: random.Random
    broker: MemoryBroker
    group: asyncio.TaskGroup
    nodes: dict[str, Node] = field(default_factory=dict)
    controllers: dict[str, Controller] = field(default_factory=dict)
    memories: dict[str, ForgetfulMemory] = field(default_factory=dict)
    clocks: dict[str, SkewedClock] = field(default_factory=dict)
    processes: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    registry: MemoryRegistry = field(default_factory=MemoryRegistry)
    said: list[str] = field(default_factory=list)
    """What was done to it, a line each: printed when a seed fails."""

    guarded: Any = None
    """While the store is lost or an older one: what may not be stopped (`tests.sim.stores`)."""
    running_on: Any = None
    """What ran when the store was made anew (`tests.sim.running_on`)."""
    alone: set[str] = field(default_factory=set)
    """Services of which no slot may ever run twice."""
    restored_at: float = 0.0
    """When the store was made anew last; 0: never."""
    forgotten: set[str] = field(default_factory=set)
    """Services that only nodes ran which did not tell so when the store was made anew: they run on, and nobody knows
    them."""
    rolled_back_at: float = 0.0
    """When the store became an older one last; 0: never."""
    decided_by: dict[int, Basis] = field(default_factory=dict)
    """Epoch -> what its leader went by when it decided last."""

    def __post_init__(self) -> None:
        self.operator = self.broker.connect("operator")
        self.operator_clock = LoopClock()

    @property
    def loop(self) -> SimLoop:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimLoop)
        return loop

    @property
    def now(self) -> float:
        return self.loop.time()

    def say(self, what: str) -> None:
        """Note what happens."""
        self.said.append(f"{self.now:10.3f} {what}")

    # controllers

    def start_controller(self, name: str) -> None:
        """It comes (back) with what it remembered on disk."""
        clock = self.clocks.setdefault(name, SkewedClock(self.rng.choice((0.0, 0.0, -7200.0, 7200.0))))
        bus = self.broker.connect(controller_user(name))
        chance = random.Random(self.rng.getrandbits(64))
        memory = self.memories.setdefault(name, ForgetfulMemory())
        controller = Controller(Config(name), bus, clock=clock, rng=chance, memory=memory, plan=self._plan)
        self.controllers[name] = controller
        user = controller_user(name)
        self.processes[name] = self.group.create_task(controller.run(), name=name, context=context_of(user))

    def _plan(self, world: Known, dirty: Dirty, now: float) -> Plan:
        seen = (dict(world.observations), dict(world.nodes), dict(world.orders))
        self.decided_by[world.epoch] = Basis(self.now, *seen, behind=world.unseen_since is not None)
        return decide(world, dirty, now)

    def crash_controller(self, name: str, *, advise: bool = True) -> None:
        """kill -9."""
        self.controllers.pop(name, None)
        self.broker.kill(controller_user(name), advise=advise)
        self.loop.continue_process(controller_user(name))
        self.processes.pop(name).cancel()

    def stop_controller(self, name: str) -> None:
        """SIGSTOP."""
        self.loop.stop_process(controller_user(name))

    def continue_controller(self, name: str, *, timers_first: bool = False) -> None:
        """SIGCONT: it may still believe that it leads."""
        self.loop.continue_process(controller_user(name), timers_first=timers_first)

    def leader(self) -> str:
        """Who believes to lead, if it is one alone; else "" ."""
        leading = [name for name, each in sorted(self.controllers.items()) if each.leads]
        return leading[0] if len(leading) == 1 else ""

    def ready(self) -> set[str]:
        """The nodes that the leader takes for ready."""
        controller = self.controllers.get(self.leader())
        verdicts = controller.mirror.records.liveness if controller else {}
        return {name for name, record in verdicts.items() if record.verdict == "ready"}

    async def settled(self) -> None:
        """Until somebody leads and takes every node for ready."""
        await self.until(lambda: self.ready() == set(self.nodes), 30, "all nodes are ready")

    # nodes

    def add_node(self, name: str) -> Node:
        """A new machine."""
        clock = SkewedClock(self.rng.choice((0.0, 0.0, -3600.0, 10_000.0)))
        engine = new_engine(name, random.Random(self.rng.getrandbits(64)), clock, self.registry)
        address = f"192.0.2.{len(self.nodes) + 1}"
        node = self.nodes[name] = Node(name, engine, Disk(), clock, address=address)
        self.start_agent(name)
        return node

    def start_agent(self, name: str) -> None:
        """The agent's process comes (back)."""
        node = self.nodes[name]
        bus = self.broker.connect(agent_user(name))
        config = AgentConfig(name, boot=f"boot-{node.boots}", machine=Machine(hostname=name, address=node.address))
        chance = random.Random(self.rng.getrandbits(64))
        node.agent = Agent(config, bus, node.engine, node.files, node.clock, chance, node.machine)
        user = agent_user(name)
        node.process = self.group.create_task(node.agent.run(), name=name, context=context_of(user))

    def add_copy(self, name: str) -> Agent:
        """A machine made from an image of another one's disk: same identity, an engine and a boot of its own."""
        original = self.nodes[name]
        engine = new_engine(name, random.Random(1), original.clock)
        files = Disk()
        files.content.update(original.files.content)
        config = AgentConfig(name, boot=f"boot-of-a-copy-of-{name}", machine=Machine(hostname=name))
        bus = self.broker.connect(agent_user(name))
        agent = Agent(config, bus, engine, files, original.clock, random.Random(self.rng.getrandbits(64)))
        self.processes[f"copy of {name}"] = self.group.create_task(agent.run(), name=f"copy of {name}")
        return agent

    def crash_agent(self, name: str, *, advise: bool = True) -> None:
        """kill -9: containers run on."""
        node = self.nodes[name]
        self.broker.kill(agent_user(name), advise=advise)
        self.continue_agent(name)
        if node.process is not None:
            node.process.cancel()
        node.process = node.agent = None

    def stop_agent(self, name: str) -> None:
        """SIGSTOP to its process: it is alive, connected, and does nothing; its timers go by."""
        self.nodes[name].stopped = True
        self.loop.stop_process(agent_user(name))

    def continue_agent(self, name: str, *, timers_first: bool = False) -> None:
        """SIGCONT."""
        self.nodes[name].stopped = False
        self.loop.continue_process(agent_user(name), timers_first=timers_first)

    def power_off(self, name: str) -> None:
        """Everything on it is dead."""
        node = self.nodes[name]
        self.crash_agent(name, advise=False)
        self.crash_engine(name)
        node.powered = False

    def crash_engine(self, name: str, *, containers: bool = True) -> None:
        """The engine's processes die; with them all containers, unless told otherwise."""
        self.nodes[name].engine.crash(containers=containers)

    def power_on(self, name: str) -> None:
        """It boots and finds its disk as it was."""
        node = self.nodes[name]
        node.boots += 1
        node.machine.reboot()
        node.engine.recover()
        node.powered = True
        self.start_agent(name)

    def cut(self, name: str, *, outbound: bool = True, inbound: bool = True, hold: bool = False) -> None:
        """Unplug a node, or one direction of its cable; `hold`: what is said meanwhile comes late."""
        self.nodes[name].cut = True
        self.broker.partition(agent_user(name), outbound=outbound, inbound=inbound, hold=hold)

    def plug(self, name: str) -> None:
        """Plug it in again."""
        self.nodes[name].cut = False
        self.broker.heal(agent_user(name))

    # what people do

    async def ask(self, name: str, request: Wire, timeout: float = 40.0) -> Any:
        """A request to the api. Raises what it says."""
        noun, verb = name.split(".")
        data = await self.operator.core.request(subjects.api(noun, verb), encode(request), timeout=timeout)
        return open_reply(data, REQUESTS[name][1])

    async def insist(self, name: str, request: Wire, patience: float = 60.0) -> Any:
        """The same, again and again while nobody can answer."""
        deadline = self.now + patience
        while True:
            try:
                return await self.ask(name, request, timeout=10.0)
            except MeshError as error:
                if not error.retryable or self.now > deadline:
                    raise
                await asyncio.sleep(0.5)

    # looking

    def live(self) -> dict[tuple[str, str], list[tuple[str, Life]]]:
        """(service, slot) -> (node, container) of all that runs anywhere."""
        found: dict[tuple[str, str], list[tuple[str, Life]]] = {}
        for name, node in sorted(self.nodes.items()):
            for life in node.live():
                labels = life.view.labels
                found.setdefault((labels["mesh.service"], labels["mesh.slot"]), []).append((name, life))
        return found

    def running(self, service: str) -> list[str]:
        """The slots of a service that run, sorted; one that runs twice stands there twice."""
        return sorted(slot for (each, slot), lives in self.live().items() if each == service for _ in lives)

    async def until(self, holds: Callable[[], bool], seconds: float, what: str) -> float:
        """Wait until something holds; the virtual seconds that took. Raises AssertionError."""
        started = self.now
        while not holds():
            if self.now - started > seconds:
                raise AssertionError(f"not within {seconds} s: {what}")
            await asyncio.sleep(0.05)
        return self.now - started


@asynccontextmanager
async def world_of(seed: int, *, nodes: int = 3, controllers: int = 3) -> AsyncIterator[World]:
    """A mesh that starts up; everything in it ends with the context."""
    rng = random.Random(seed)
    broker = MemoryBroker(random.Random(rng.getrandbits(64)), mesh_id="sim")
    broker.faults.delay = (0.0005, 0.005)
    async with asyncio.TaskGroup() as group:
        world = World(rng, broker, group)
        for number in range(1, controllers + 1):
            world.start_controller(f"c{number}")
        for number in range(1, nodes + 1):
            world.add_node(f"n{number}")
        try:
            yield world
        finally:
            for name in world.controllers:
                world.continue_controller(name)
            for task in world.processes.values():
                task.cancel()
            for name in world.nodes:
                world.continue_agent(name)
            for node in world.nodes.values():
                if node.process is not None:
                    node.process.cancel()


async def in_world(seed: int, story: Callable[[World], Awaitable[None]], **size: int) -> None:
    """Tell a story in a world of its own."""
    async with world_of(seed, **size) as world:
        await world.settled()
        await story(world)
