"""The engine in memory tells checkers of each change of a container, whoever made it and whether events tell of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from agent.engine.memory import MemoryEngine
from agent.engine.memory_life import Life, Program
from agent.engine.plans import ContainerPlan, Join, NetworkPlan
from bus.memory import LoopClock
from schemas.errors import EngineError
from tests.sim.loop import run

LABELS = {"mesh.id": "m1", "mesh.node": "n1", "mesh.task": "t1"}


class Watched:
    """An engine, and what it told."""

    def __init__(self) -> None:
        self.engine = MemoryEngine(chance=random.Random(1), clock=LoopClock())
        self.engine.on_change = self._note
        self.told: list[str] = []

    async def create(self, program: Program, **body: object) -> str:
        image = self.engine.add_image("app:1", program)
        made = await self.engine.create(ContainerPlan("c1", image.id, LABELS, body))
        self.told.clear()
        return made

    def _note(self, life: Life) -> None:
        there = life.view.id in self.engine.lives
        self.told.append(f"{life.view.state} {life.view.health}".strip() if there else "gone")


async def _made(watched: Watched) -> None:
    image = watched.engine.add_image("app:1", Program())
    await watched.engine.create(ContainerPlan("c1", image.id, LABELS, {}))


async def _runs_and_ends(watched: Watched) -> None:
    await watched.engine.start(await watched.create(Program(runs_for=1.0)))
    await asyncio.sleep(2)


async def _gets_healthy(watched: Watched) -> None:
    made = await watched.create(Program(healthy_after=1.0), Healthcheck={"Test": ["CMD", "true"]})
    await watched.engine.start(made)
    await asyncio.sleep(2)


async def _cannot_start(watched: Watched) -> None:
    made = await watched.create(Program(start_error="no such program"))
    with pytest.raises(EngineError):
        await watched.engine.start(made)


async def _is_stopped_and_removed(watched: Watched) -> None:
    made = await watched.create(Program())
    await watched.engine.start(made)
    await watched.engine.stop(made)
    await watched.engine.remove(made)


async def _is_forgotten(watched: Watched) -> None:
    await watched.engine.start(await watched.create(Program()))
    watched.engine.forget("c1")


async def _dies_with_its_engine(watched: Watched) -> None:
    await watched.engine.start(await watched.create(Program()))
    watched.engine.crash()


async def _is_paused_by_hand(watched: Watched) -> None:
    await watched.engine.start(await watched.create(Program()))
    watched.engine.tamper("c1", state="paused")


async def _is_put_on_a_network(watched: Watched) -> None:
    made = await watched.create(Program())
    await watched.engine.create_network(
        NetworkPlan("net", "br0", "10.0.0.0/24", "10.0.0.0/24", "10.0.0.1", 1450, labels=LABELS)
    )
    await watched.engine.attach(made, [Join("net")])


async def _was_there_already(watched: Watched) -> None:
    watched.engine.invent("strange", {})


TOLD: dict[Callable[[Watched], Awaitable[None]], list[str]] = {
    _made: ["created"],
    _runs_and_ends: ["running", "exited"],
    _gets_healthy: ["running starting", "running healthy"],
    _cannot_start: ["created"],
    _is_stopped_and_removed: ["running", "exited", "gone"],
    _is_forgotten: ["running", "exited", "gone"],
    _dies_with_its_engine: ["running", "exited"],
    _is_paused_by_hand: ["running", "paused"],
    _is_put_on_a_network: ["created"],
    _was_there_already: ["created", "running"],
}


@pytest.mark.parametrize("what", TOLD, ids=lambda each: each.__name__.strip("_"))
def test_each_change_is_told(what: Callable[[Watched], Awaitable[None]]) -> None:
    async def main() -> list[str]:
        watched = Watched()
        await what(watched)
        return watched.told

    assert run(main()) == TOLD[what]
