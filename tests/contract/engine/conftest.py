"""Both engines for one suite: a test gets a `Stage` and says what its containers shall do, not how."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from agent.engine.container import TaskContext, plan_container
from agent.engine.docker import DockerEngine
from agent.engine.labels import Owner
from agent.engine.memory import MemoryEngine
from agent.engine.memory_life import Program
from agent.engine.model import Container
from agent.engine.plans import ContainerPlan
from agent.engine.port import Engine
from lab import images
from schemas.clock import SystemClock
from schemas.spec import ContainerSpec, HealthCheck, TaskSpec
from tests.conftest import why_no_docker
from tests.contract.engine.dockerd import Dockerd

IMAGE = "dockmesh/busybox:1"
CHECK = HealthCheck(test=("CMD-SHELL", "test -e /tmp/healthy"), interval=0.2, timeout=5.0)
POLITE = "trap 'exit 0' TERM; "
FOREVER = "while :; do busybox sleep 0.1; done"

DOES: dict[str, tuple[str, Program]] = {
    "sleeps": (POLITE + FOREVER, Program()),
    "fails": ("echo oh no >&2; exit 3", Program(runs_for=0.01, exit_code=3, lines=("oh no",))),
    "ends": ("exit 0", Program(runs_for=0.01)),
    "is stubborn": ("trap '' TERM; " + FOREVER, Program(ignores_stop=True)),
    "gets healthy": (POLITE + "busybox sleep 0.3; echo > /tmp/healthy; " + FOREVER, Program(healthy_after=0.1)),
    "counts": (POLITE + "for i in 1 2 3 4 5; do echo line $i; done; " + FOREVER,
               Program(lines=tuple(f"line {number}" for number in range(1, 6)))),
}  # fmt: skip

NUMBERS = itertools.count(1)


@dataclass
class Stage:
    """An engine, and whose containers are made on it."""

    engine: Engine
    owner: Owner
    kind: str
    images: dict[str, str]
    """By what it does: the image id."""
    dockerd: Dockerd | None = None
    made: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)

    def plan(self, does: str = "sleeps", *, limits: Any = None, **fields: Any) -> ContainerPlan:
        """A plan for a container that does that; `fields` go into its spec."""
        number = next(NUMBERS)
        fields.setdefault("command", ("sh", "-c", DOES[does][0]))
        if does == "gets healthy":
            fields.setdefault("healthcheck", CHECK)
        spec = TaskSpec(container=ContainerSpec(image=IMAGE, **fields), **({"limits": limits} if limits else {}))
        context = TaskContext(self.owner, f"1-{number}", "web", str(number), 1, spec.hash, stack="shop", hostname="n1")
        return plan_container(spec, context, self.images[does])

    async def create(self, does: str = "sleeps", **fields: Any) -> str:
        """A created container's id."""
        container = await self.engine.create(self.plan(does, **fields))
        self.made.append(container)
        return container

    async def run(self, does: str = "sleeps", **fields: Any) -> str:
        """A started container's id."""
        container = await self.create(does, **fields)
        await self.engine.start(container)
        return container

    async def make_stranger(self) -> str:
        """A running container without the mesh's labels."""
        if isinstance(self.engine, MemoryEngine):
            return self.engine.invent("stranger", {})
        assert self.dockerd is not None
        stranger = await asyncio.to_thread(self.dockerd.run, IMAGE, ["sh", "-c", FOREVER])
        self.strangers.append(stranger)
        return stranger

    async def change_by_hand(self, container: str, *, name: str, memory: int) -> None:
        """Somebody renames it and sets another limit."""
        if isinstance(self.engine, MemoryEngine):
            self.engine.tamper(container, name=name, memory=memory)
            return
        assert self.dockerd is not None
        await asyncio.to_thread(self.dockerd.change, container, name, memory)

    async def stop_by_hand(self, container: str) -> None:
        """Somebody stops it."""
        if isinstance(self.engine, MemoryEngine):
            self.engine.stop_by_hand(container)
            return
        assert self.dockerd is not None
        await asyncio.to_thread(self.dockerd.stop_container, container)

    async def pause(self, container: str) -> None:
        """Somebody pauses it."""
        if isinstance(self.engine, MemoryEngine):
            self.engine.tamper(container, state="paused")
            return
        assert self.dockerd is not None
        await asyncio.to_thread(self.dockerd.pause, container)

    async def until(self, container: str, wanted: str) -> Container:
        """The container once its state or health is `wanted`."""
        async with asyncio.timeout(20):
            while True:
                view = await self.engine.inspect(container)
                if wanted in (view.state, view.health):
                    return view
                await asyncio.sleep(0.05)


async def chunks_of(data: bytes, size: int = 64 * 1024) -> AsyncIterator[bytes]:
    """Some bytes in chunks."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


@pytest.fixture(scope="session")
def archive() -> bytes:
    """The test image's archive."""
    return images.build("busybox").read_bytes()


@pytest.fixture(scope="session")
def dockerd() -> Iterator[Dockerd]:
    """One real engine for all tests of this folder."""
    if why := why_no_docker():
        pytest.skip(why)
    engine = Dockerd()
    try:
        engine.start()
        yield engine
    finally:
        engine.remove()


@pytest.fixture
async def docker_stage(dockerd: Dockerd, archive: bytes) -> AsyncIterator[Stage]:
    """The real engine; containers of the test are removed after it."""
    engine = DockerEngine(dockerd.address, clock=SystemClock())
    try:
        if await engine.image(IMAGE) is None:
            await engine.load(chunks_of(archive))
        image = await engine.image(IMAGE)
        assert image is not None
        stage = Stage(engine, Owner("m1", "n1"), "docker", dict.fromkeys(DOES, image.id), dockerd)
        yield stage
        for container in stage.made:
            await engine.remove(container, force=True)
        for stranger in stage.strangers:
            await asyncio.to_thread(dockerd.remove_container, stranger)
    finally:
        await engine.close()


@pytest.fixture
async def memory_stage() -> AsyncIterator[Stage]:
    """The engine in memory."""
    engine = MemoryEngine(chance=random.Random(1), clock=SystemClock())
    ids = {
        does: engine.add_image(f"{IMAGE}-{does.replace(' ', '-')}", program).id for does, (_, program) in DOES.items()
    }
    engine.add_image(IMAGE)
    yield Stage(engine, Owner("m1", "n1"), "memory", ids)
    await engine.close()


@pytest.fixture(params=["memory", pytest.param("docker", marks=pytest.mark.docker)])
def stage(request: pytest.FixtureRequest) -> Stage:
    """Each test of the suite runs on both."""
    found: Stage = request.getfixturevalue(f"{request.param}_stage")
    return found
