"""A stage on which a service is updated, drained and moved while its decisions are watched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from bus.commits import Fence, Outcome, Put, Write
from schemas.memberapi import UpdateNode
from schemas.observation import Observation
from schemas.records import NodeRecord
from schemas.serviceapi import ServiceDeploy
from schemas.spec import ContainerSpec, HealthCheck, ServiceSpec, TaskSpec, UpdatePolicy
from schemas.wire import decode, encode
from tests.sim.invariants import Violated, Watchman
from tests.sim.loop import run
from tests.sim.promises import PromiseWatch
from tests.sim.test_planted import commit
from tests.sim.test_rollouts import rollout
from tests.sim.test_world import deploy
from tests.sim.world import World, in_world

Plant = Callable[[pytest.MonkeyPatch], None]


def web(image: str = "app:1", replicas: int = 4, **policy: Any) -> ServiceDeploy:
    update = UpdatePolicy(**{"monitor": 0.0, **policy})
    check = HealthCheck(test=("CMD", "true")) if image == "slow:1" else None
    task = TaskSpec(container=ContainerSpec(image=image, healthcheck=check))
    spec = ServiceSpec(name="shop_web", stack="shop", task=task, update=update, rollback=update)
    return ServiceDeploy(spec=spec, replicas=replicas)


class Stage:
    """A world whose decisions are watched from its beginning."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.watchman = Watchman(world)
        self.promises = PromiseWatch(world, self.watchman.note)
        self.watchman.listeners.append(self.promises.stored)
        self.watchman.observers.append(self.promises.observed)

    async def begin(self) -> None:
        """Until a leader has been seen to take over, so that the watchman knows it."""
        self.world.crash_controller(self.world.leader())
        await self.world.settled()
        await asyncio.sleep(3)  # it hears all nodes

    async def stands(self, wanted: ServiceDeploy) -> None:
        """Deploy it and wait until the leader says that it is done."""
        before = rollout(self.world).deploy
        await deploy(self.world, wanted)
        holds = lambda: rollout(self.world).phase == "done" and rollout(self.world).deploy > before  # noqa: E731
        await self.world.until(holds, 60, "it stands")


async def updated(stage: Stage, **policy: Any) -> None:
    """A service is deployed, and then another image of it, which takes a while to get healthy."""
    await stage.stands(web("app:1", **policy))
    await stage.stands(web("slow:1", **policy))


async def drained(stage: Stage) -> None:
    """A node with tasks is emptied."""
    await stage.stands(web("app:1", replicas=6))
    await stage.world.insist("node.update", UpdateNode(node="n1", availability="drain"))
    await stage.world.until(lambda: not stage.world.nodes["n1"].live(), 30, "the node is empty")


def play(story: Callable[[Stage], Any], says: str = "") -> Stage:
    """Tell it; `says`: what the watchman must have seen. "": nothing."""
    stages: list[Stage] = []

    async def whole(world: World) -> None:
        stage = Stage(world)
        stages.append(stage)
        await stage.begin()
        await story(stage)
        if not says:
            stage.watchman.raise_if_any()
        else:
            with pytest.raises(Violated, match=says):
                stage.watchman.raise_if_any()

    run(in_world(51, whole))
    return stages[0]


def tell_all_up(world: World, node: str) -> None:
    """The node tells that all of its tasks are up: not all were."""
    value = world.broker.observed.existing().entries[node].value
    assert value is not None
    now = decode(value, Observation)
    tasks = tuple(msgspec.structs.replace(task, state="running", health="healthy") for task in now.tasks)
    assert not all(task.up for task in now.tasks)
    later = msgspec.structs.replace(now, counter=now.counter + 1, tasks=tasks)
    world.broker.observed.commit(f"agent-{node}", [Put(node, encode(later))], None)


def commit_as_leader(stage: Stage, *batch: Put) -> None:
    """Something is decided that no leader thought of."""
    commit(stage.world, f"controller-{stage.world.leader()}", *batch)


def before_it_is_stored(
    stage: Stage, such: Callable[[Write], bool], happens: Callable[[], object]
) -> Callable[[], bool]:
    """Once, between a decision and its being stored, something happens; whether it has."""
    state = stage.world.broker.state
    store = state.commit

    def commit_behind(user: str, batch: Sequence[Write], fence: Fence | None) -> Outcome:
        if any(such(write) for write in batch):
            state.commit = store  # type: ignore[method-assign]
            happens()
        return store(user, batch, fence)

    state.commit = commit_behind  # type: ignore[method-assign]
    return lambda: state.commit == store


def availability_record(world: World, node: str, availability: Any) -> Put:
    """The write by which people change a node's availability."""
    value = world.broker.state.existing().entries[f"node.{node}"].value
    assert value is not None
    return Put(f"node.{node}", encode(msgspec.structs.replace(decode(value, NodeRecord), availability=availability)))
