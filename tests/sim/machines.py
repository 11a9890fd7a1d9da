"""The machines of a simulated mesh: clocks that are wrong, disks that are full, engines that are watched."""

from __future__ import annotations

import asyncio
import errno
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from agent.agent import Agent
from agent.engine.memory import MemoryEngine
from agent.engine.memory_images import MemoryRegistry
from agent.engine.memory_life import Life, Program
from agent.engine.model import Container, EngineInfo
from agent.engine.plans import Join
from agent.files import MemoryFiles
from agent.network.memory import MemoryMachine
from agent.reserved import room_for
from bus.memory import LoopClock

UNMANAGED = "somebody-elses"
"""The name of a container on every engine that is not the mesh's. Its engine starts it again after a power cut."""

UNMANAGED_ENDED = "somebody-elses-that-ended"
"""The name of another one, which does not run."""

PROGRAMS = {
    "app:1": Program(starts_in=0.2, stops_in=0.1),
    "app:2": Program(starts_in=0.3, stops_in=0.2, lines=("two",)),
    "slow:1": Program(starts_in=1.0, stops_in=2.0, healthy_after=1.0),
    "job:1": Program(starts_in=0.1, runs_for=3.0, exit_code=0),
    "crash:1": Program(starts_in=0.1, runs_for=0.5, exit_code=1, lines=("about to fail",)),
    "stubborn:1": Program(starts_in=0.1, ignores_stop=True),
}
"""Images that every node has, and what their containers do."""


class SkewedClock(LoopClock):
    """A machine's wall clock that is wrong, and may be set anew."""

    def __init__(self, offset: float) -> None:
        self.offset = offset

    def wall(self) -> float:
        return super().wall() + self.offset


class Disk(MemoryFiles):
    """Where an agent keeps what it knows; outlives power cuts."""

    full: bool = False
    """Nothing can be written but what has room of its own."""

    async def write_reserved(self, name: str, data: bytes) -> None:
        before = await self.read_reserved(name)
        if before is None or room_for(len(data)) > room_for(len(before)):
            self._check()
        await super().write_reserved(name, data)

    async def write(self, name: str, data: bytes) -> None:
        self._check()
        await super().write(name, data)

    async def append(self, name: str, data: bytes, *, durable: bool = True) -> None:
        self._check()
        await super().append(name, data, durable=durable)

    def _check(self) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")


class WatchedEngine(MemoryEngine):
    """Knows which containers it was told to stop, and which are not the mesh's to touch."""

    stopped: set[str]
    strangers: dict[str, Container]
    """Containers that only their owners may touch, by id, as those left them."""
    on_stop: Callable[[Life], None] = staticmethod(lambda life: None)
    """Called with each container that is about to get its stop signal."""
    on_call: Callable[[str], None] = staticmethod(lambda container: None)
    """Called with the id or name of each container that is about to be changed."""

    async def start(self, container: str) -> None:
        self.on_call(container)
        await super().start(container)

    async def stop(self, container: str, *, signal: str = "", grace: float = 10.0) -> None:
        self.stopped.add(container)
        self.on_call(container)
        if container in self.lives:
            self.on_stop(self.lives[container])
        await super().stop(container, signal=signal, grace=grace)

    async def kill(self, container: str, signal: str = "SIGKILL") -> None:
        self.stopped.add(container)
        self.on_call(container)
        await super().kill(container, signal)

    async def remove(self, container: str, *, force: bool = False) -> None:
        if force and container in self.lives and self.lives[container].view.alive:
            self.stopped.add(container)
        self.on_call(container)
        await super().remove(container, force=force)

    async def attach(self, container: str, joins: Sequence[Join]) -> None:
        self.on_call(container)
        await super().attach(container, joins)

    def leave_alone(self, container: str) -> None:
        """From now on only its owner may touch it."""
        self.strangers[container] = self.lives[container].view

    def invent_ended(self, name: str, labels: dict[str, str]) -> str:
        """A container that nobody asked for and that does not run; its id. It takes nothing of the engine's chance."""
        chance, self._chance = self._chance, random.Random(name)
        made = self.invent(name, labels)
        self._chance = chance
        self.lives[made].end(0)
        return made

    def crash(self, *, containers: bool = True) -> None:
        super().crash(containers=containers)
        for stranger in self.strangers.keys() & self.lives.keys() if containers else ():
            self.leave_alone(stranger)

    def recover(self) -> None:
        self.faults.down = True  # what starts now was started before anybody could ask for anything
        for stranger in self.strangers.keys() & self.lives.keys():
            life = self.lives[stranger]
            if life.view.name == UNMANAGED and not life.view.alive:
                life.start()
                self.leave_alone(stranger)
        super().recover()


def new_engine(
    name: str, chance: random.Random, clock: SkewedClock, registry: MemoryRegistry | None = None
) -> WatchedEngine:
    """An engine with all images, and two containers that are somebody else's."""
    facts = EngineInfo("memory", "1.41", name, architecture="x86_64", cpus=8.0, memory=16 << 30)
    engine = WatchedEngine(chance=chance, clock=clock, facts=facts, registry=registry)
    engine.stopped, engine.strangers = set(), {}
    for tag, program in PROGRAMS.items():
        engine.add_image(tag, program)
    engine.leave_alone(engine.invent(UNMANAGED, {"who": "knows"}))
    engine.leave_alone(engine.invent_ended(UNMANAGED_ENDED, {"who": "knows"}))
    return engine


@dataclass
class Node:
    """A machine with an engine and an agent. Its disk (`files`, the engine's containers) outlives power cuts."""

    name: str
    engine: WatchedEngine
    files: Disk
    clock: SkewedClock
    machine: MemoryMachine = field(default_factory=MemoryMachine)
    address: str = ""
    boots: int = 1
    powered: bool = True
    cut: bool = False
    stopped: bool = False
    """Its agent's process is stopped: it is alive, and does nothing."""
    process: asyncio.Task[None] | None = None
    agent: Agent | None = None

    @property
    def agent_runs(self) -> bool:
        return self.process is not None and not self.process.done()

    def live(self) -> list[Life]:
        """Containers of the mesh that run here."""
        strangers = self.engine.strangers
        lives = (life for key, life in self.engine.lives.items() if key not in strangers)
        return [life for life in lives if life.view.alive and "mesh.task" in life.view.labels]
