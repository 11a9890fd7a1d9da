"""The hash of a trace covers all that happens: what is left out would let two different runs look alike."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from bus.commits import Fence, Put
from bus.memory_faults import Packet
from bus.memory_wire import SERVER
from tests.sim.invariants import Watchman
from tests.sim.loop import run
from tests.sim.machines import UNMANAGED
from tests.sim.world import World, in_world, silence_logs


@pytest.fixture(autouse=True)
def quiet() -> None:
    silence_logs()


def _message(world: World) -> None:
    world.broker.wire.send(Packet(sender=SERVER, receiver="operator", subject="x"), lambda: None)


HAPPENS: dict[str, Callable[[World], object]] = {
    "a decision": lambda world: world.broker.state.commit("operator", [Put("config.x.1", b"")], None),
    "a decision that is refused": lambda world: world.broker.state.commit("operator", [Put("brake", b"")], Fence(1)),
    "an observation": lambda world: world.broker.observed.commit("agent-n1", [Put("n9", b"")], None),
    "a message": _message,
    "a container ends": lambda world: world.nodes["n1"].engine.life(UNMANAGED).end(0),
    "a container is made": lambda world: world.nodes["n1"].engine.invent("x", {}),
}


async def _without_more(world: World, happens: Callable[[World], object]) -> str:
    """The trace of a second in which nobody does anything, but for that."""
    watchman = Watchman(world)
    for name in sorted(world.controllers):
        world.stop_controller(name)
    for name in sorted(world.nodes):
        world.stop_agent(name)
    await asyncio.sleep(5)
    happens(world)
    await asyncio.sleep(1)
    return watchman.trace


def told(happens: Callable[[World], object]) -> str:
    """The trace of a world in which that happens."""
    traces: list[str] = []

    async def story(world: World) -> None:
        traces.append(await _without_more(world, happens))

    run(in_world(5, story))
    return traces[0]


@pytest.mark.parametrize("kind", ["state", "observed"])
def test_what_is_stored_is_in_the_trace_and_not_only_that_it_is(kind: str) -> None:
    def stored(value: bytes) -> str:
        hub = lambda world: world.broker.state if kind == "state" else world.broker.observed  # noqa: E731
        return told(lambda world: hub(world).commit("operator", [Put("config.x.1", value)], None))

    assert stored(b"one") == stored(b"one")
    assert stored(b"one") != stored(b"two")


@pytest.mark.parametrize("what", HAPPENS)
def test_what_happens_changes_the_trace(what: str) -> None:
    nothing = told(lambda _: None)
    assert nothing == told(lambda _: None)
    assert told(HAPPENS[what]) != nothing
