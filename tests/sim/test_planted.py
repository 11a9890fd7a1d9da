"""Each checker is proven by a planted bug that it must catch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from bus.commits import Delete, Fence, Put
from schemas import subjects
from schemas.assignment import AssignedTask, Assignment
from schemas.spec import ContainerSpec, TaskSpec
from schemas.wire import encode
from tests.sim.invariants import Violated, Watchman
from tests.sim.loop import run
from tests.sim.test_world import deploy, service, slots
from tests.sim.world import World, in_world, silence_logs


@pytest.fixture(autouse=True)
def quiet() -> None:
    silence_logs()


SPEC = TaskSpec(container=ContainerSpec(image="app:1"))


def task_of(id_: str, slot: str = "1") -> AssignedTask:
    return AssignedTask(id=id_, service="shop_web", slot=slot, revision=1, spec=SPEC.hash)


def assign(*tasks: AssignedTask, specs: bool = True) -> Put:
    record = Assignment(node="n1", epoch=1, tasks=tasks, specs={SPEC.hash: SPEC} if specs else {})
    return Put("desired.n1", encode(record))


def watchman_of(world: World) -> Watchman:
    """One who comes late, and is told who leads."""
    watchman = Watchman(world)
    watchman.holder = world.leader()
    watchman.epoch = world.broker.state.existing().entries[subjects.EPOCH].sequence
    return watchman


async def _caught(world: World, plant: Callable[[World, Watchman], Any], says: str) -> None:
    watchman = watchman_of(world)
    await asyncio.sleep(2)
    watchman.look_at_engines()
    watchman.raise_if_any()
    plant(world, watchman)
    watchman.look_at_engines()
    with pytest.raises(Violated, match=says):
        watchman.raise_if_any()


def commit(world: World, user: str, *batch: Any, fenced: bool = True) -> None:
    epoch = world.broker.state.existing().entries[subjects.EPOCH].sequence
    world.broker.state.commit(user, batch, Fence(epoch) if fenced else None)


def store_late(world: World, _: Watchman) -> None:
    hub, fence = world.broker.state, Fence(world.broker.state.existing().entries[subjects.EPOCH].sequence)
    old, new = [assign()], [assign()]
    for batch in (old, new):
        assert hub.on_send is not None
        hub.on_send(batch, fence)
    for batch in (new, old):
        hub.commit(f"controller-{world.leader()}", batch, fence)


def store_deposed(world: World, watchman: Watchman) -> None:
    """The server forgets what a fence is for."""
    hub = world.broker.state
    stream = hub.existing()
    store = stream.commit
    stream.commit = lambda batch, _, now: store(batch, None, now)  # type: ignore[method-assign]
    hub.commit(f"controller-{world.leader()}", [assign()], Fence(watchman.epoch - 1))


PLANTS: dict[str, tuple[Callable[[World, Watchman], Any], str]] = {
    "a leader writes without a fence": (
        lambda world, _: commit(world, f"controller-{world.leader()}", assign(), fenced=False),
        "wrote desired.n1",
    ),
    "somebody who does not lead writes a decision": (
        lambda world, _: commit(world, "controller-nobody", assign()),
        "controller-nobody .fence Fence.* wrote desired.n1",
    ),
    "an assignment is deleted": (
        lambda world, _: commit(world, f"controller-{world.leader()}", Delete("desired.n1")),
        "absence is never a decision",
    ),
    "a slot is assigned twice": (
        lambda world, _: commit(world, f"controller-{world.leader()}", assign(task_of("a"), task_of("b"))),
        "one slot twice",
    ),
    "a task comes without its spec": (
        lambda world, _: commit(world, f"controller-{world.leader()}", assign(task_of("a"), specs=False)),
        "without their spec",
    ),
    "what a leader sent is stored after what it sent later": (store_late, "sent desired.n1 before"),
    "a deposed leader's write is stored": (store_deposed, "wrote desired.n1 in epoch"),
    **{
        f"somebody who does not lead writes {key}": (
            lambda world, _, key=key: commit(world, "operator", Delete(key), fenced=False),
            f"operator .fence None. wrote {key} in epoch",
        )
        for key in ("rollout.x", "desired.x", "liveness.n1", "brake", "alloc.x", "endpoints.x.y", "job.x")
    },
}


@pytest.mark.parametrize("bug", PLANTS)
def test_the_watchman_catches(bug: str) -> None:
    plant, says = PLANTS[bug]
    run(in_world(1, lambda world: _caught(world, plant, says)))


def test_the_watchman_catches_an_ended_container_that_is_started_again() -> None:
    async def story(world: World) -> None:
        watchman = watchman_of(world)
        await deploy(world, service("shop_web", replicas=1))
        await world.until(lambda: world.running("shop_web") == slots(1), 30, "it runs")
        life = next(lives[0][1] for lives in world.live().values())
        watchman.raise_if_any()
        life.end(1)
        life.start()
        life.end(1)
        with pytest.raises(Violated, match="started again"):
            watchman.raise_if_any()

    run(in_world(2, story))


def test_the_watchman_catches_what_runs_twice_between_two_looks() -> None:
    async def story(world: World) -> None:
        watchman = watchman_of(world)
        world.alone.add("shop_web")
        await deploy(world, service("shop_web", replicas=1))
        await world.until(lambda: world.running("shop_web") == slots(1), 30, "it runs")
        labels = dict(next(lives[0][1] for lives in world.live().values()).view.labels)
        engine = world.nodes["n1"].engine
        engine.forget(engine.invent("mine", {**labels, "mesh.slot": "2"}))
        watchman.raise_if_any()
        engine.forget(engine.invent("double", labels))
        with pytest.raises(Violated, match="slot 1 of shop_web runs twice, and must not"):
            watchman.raise_if_any()

    run(in_world(3, story))
