"""Rollouts told once, in virtual time, with real controllers and real agents."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from bus.commits import Committed, Fence, Outcome, Write
from schemas.errors import NotFound, Refused
from schemas.records import RolloutRecord
from schemas.revisionapi import GetHistory, PauseServices, PromoteService, RollbackService
from schemas.serviceapi import InspectService, ServiceDeploy
from schemas.spec import (
    ContainerSpec,
    Dependency,
    HealthCheck,
    RestartPolicy,
    ServiceSpec,
    TaskSpec,
    UpdatePolicy,
)
from tests.sim.loop import run
from tests.sim.test_world import deploy, images, slots
from tests.sim.world import World, in_world, silence_logs


@pytest.fixture(autouse=True)
def quiet() -> None:
    silence_logs()


def web(image: str, **policy: Any) -> ServiceDeploy:
    update = UpdatePolicy(**{"monitor": 1.0, **policy})
    task = TaskSpec(container=ContainerSpec(image=image))
    spec = ServiceSpec(name="shop_web", stack="shop", task=task, update=update, rollback=UpdatePolicy(monitor=1.0))
    return ServiceDeploy(spec=spec, replicas=4)


def rollout(world: World) -> RolloutRecord:
    mirror = world.controllers[world.leader() or sorted(world.controllers)[0]].mirror
    return mirror.records.rollouts.get("shop_web") or RolloutRecord(service="shop_web")


async def stands(world: World, image: str = "app:1") -> None:
    await deploy(world, web(image))
    await world.until(lambda: rollout(world).phase == "done", 60, "it stands")


@pytest.mark.parametrize("order", ["stop-first", "start-first"])
def test_a_bad_deploy_comes_back_by_itself_and_says_so(order: str) -> None:
    async def story(world: World) -> None:
        await stands(world)
        await deploy(world, web("crash:1", order=order, failure_action="rollback"))
        await world.until(lambda: rollout(world).update.state == "rollback_completed", 60, "it is back")
        await world.until(lambda: world.running("shop_web") == slots(4), 30, "four slots run")
        assert (rollout(world).phase, rollout(world).revision) == ("failed", 1)
        assert rollout(world).update.culprit is not None
        assert rollout(world).update.culprit.log_tail == ("about to fail",)  # type: ignore[union-attr]

    run(in_world(11, story))


def test_people_look_back_and_go_back() -> None:
    async def story(world: World) -> None:
        await stands(world)
        await deploy(world, web("app:2"))
        await world.until(lambda: rollout(world).deploy == 2 and rollout(world).phase == "done", 60, "app:2 stands")
        history = await world.insist("service.history", GetHistory(service="shop_web"))
        assert [(view.number, view.target, view.runs, view.good) for view in history.revisions] == [
            (2, True, True, True),
            (1, False, False, False),
        ]
        answer = await world.insist("service.rollback", RollbackService(service="shop_web", command="back"))
        again = await world.insist("service.rollback", RollbackService(service="shop_web", command="back"))
        assert answer.services[0].revision == again.services[0].revision == 1
        await world.until(lambda: rollout(world).deploy == 3 and rollout(world).phase == "done", 60, "app:1 stands")
        view = await world.insist("service.inspect", InspectService(service="shop_web"))
        assert (view.record.target, view.record.back_from) == (1, 2)
        with pytest.raises(Refused):
            await world.ask("service.rollback", RollbackService(service="shop_web"))
        with pytest.raises(NotFound):
            await world.ask("service.rollback", RollbackService(service="shop_web", to=9))

    run(in_world(12, story))


def test_a_paused_rollout_stands_still_until_it_is_resumed() -> None:
    async def story(world: World) -> None:
        await stands(world)
        before = images(world)
        await deploy(world, web("app:2", delay=3.0))
        await world.until(lambda: images(world) != before, 30, "the first is replaced")
        await world.insist("service.pause", PauseServices(services=("shop_web",)))
        await world.until(lambda: world.running("shop_web") == slots(4), 30, "four slots run")
        mixed = images(world)
        await world.until(lambda: True, 1, "")
        assert mixed & before
        await world.insist("service.pause", PauseServices(services=("shop_web",), paused=False))
        await world.until(lambda: rollout(world).deploy == 2 and rollout(world).phase == "done", 60, "it goes on")
        assert not images(world) & before

    run(in_world(13, story))


class Interrupted:
    """Every leader dies right after it has stored a step of a rollout; another one goes on."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.stepped = asyncio.Event()
        self.deaths = 0
        self.fewest = 99
        world.broker.state.on_commit = self._seen

    def _seen(self, user: str, batch: Sequence[Write], _fence: Fence | None, outcome: Outcome) -> None:
        mine = any(write.key.startswith(("rollout.", "desired.")) for write in batch)
        if mine and isinstance(outcome, Committed) and user == f"controller-{self._world.leader()}":
            self.stepped.set()

    async def until(self, holds: Callable[[], bool], what: str, most: int = 150) -> None:
        for _ in range(most):
            self.fewest = min(self.fewest, len({slot for (name, slot) in self._world.live() if name == "shop_web"}))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.5):
                    await self.stepped.wait()
            if holds():
                return
            leader = self._world.leader()
            if self.stepped.is_set() and leader:
                self.deaths += 1
                self._world.crash_controller(leader)
                self.stepped.clear()
                await self._world.until(lambda: self._world.leader() != "", 30, "another leads")
                self._world.start_controller(leader)
        raise AssertionError(f"not in {most} steps: {what}: {rollout(self._world)}")


@pytest.mark.parametrize("order", ["stop-first", "start-first"])
@pytest.mark.parametrize("end", ["promote", "abort"])
def test_a_canary_goes_on_exactly_there_though_every_leader_dies_after_one_step(order: str, end: str) -> None:
    async def story(world: World) -> None:
        await stands(world)
        interrupted = Interrupted(world)
        await deploy(world, msgspec.structs.replace(web("app:2", order=order, parallelism=2), canary=2))
        await interrupted.until(lambda: rollout(world).update.stands, "the canary stands")
        assert list(image_counts(world).values()) == ([4, 2] if order == "start-first" else [2, 2])
        if end == "promote":
            await world.insist("service.promote", PromoteService(service="shop_web"))
        else:
            await world.insist("service.rollback", RollbackService(service="shop_web", canary=True))
        await interrupted.until(lambda: _whole(world, 2 if end == "promote" else 1), "it is whole")
        assert world.running("shop_web") == slots(4)
        assert interrupted.deaths >= 4
        assert interrupted.fewest >= (4 if order == "start-first" else 2)
        with pytest.raises(Refused):
            await world.insist("service.promote", PromoteService(service="shop_web"))
        with pytest.raises(Refused):
            await world.insist("service.rollback", RollbackService(service="shop_web", canary=True))

    run(in_world(15, story))


@pytest.mark.parametrize("order", ["stop-first", "start-first"])
@pytest.mark.parametrize("image", ["app:2", "crash:1"])
def test_a_rollout_goes_on_exactly_there_though_every_leader_dies_after_one_step(image: str, order: str) -> None:
    async def story(world: World) -> None:
        await stands(world)
        interrupted = Interrupted(world)
        await deploy(world, web(image, order=order, failure_action="rollback"))
        state = "completed" if image == "app:2" else "rollback_completed"
        await interrupted.until(
            lambda: rollout(world).deploy == 2 and rollout(world).update.state == state, "it is over"
        )
        world.broker.state.on_commit = None
        await world.until(lambda: world.running("shop_web") == slots(4), 60, "four slots run")
        assert interrupted.fewest >= (4 if order == "start-first" else 2)

    run(in_world(16, story))


def image_counts(world: World) -> dict[str, int]:
    """Image -> live tasks of the service."""
    found = Counter(life.view.image for lives in world.live().values() for _, life in lives)
    return dict(found.most_common())


def _whole(world: World, revision: int) -> bool:
    return rollout(world).revision == revision and rollout(world).phase == "done"


@pytest.mark.parametrize("image", ["app:2", "crash:1"])
def test_leaders_that_die_all_the_way_change_nothing_about_the_end(image: str) -> None:
    async def story(world: World) -> None:
        await stands(world)
        await deploy(world, web(image, failure_action="rollback", order="start-first"))
        fewest = 4
        for _ in range(6):
            leader = world.leader()
            if leader:
                world.crash_controller(leader)
                await world.until(lambda: world.leader() != "", 30, "another leads")
                world.start_controller(leader)
            fewest = min(fewest, len({slot for (name, slot) in world.live() if name == "shop_web"}))
        state = "completed" if image == "app:2" else "rollback_completed"
        await world.until(lambda: rollout(world).deploy == 2 and rollout(world).update.state == state, 120, "the end")
        assert world.running("shop_web") == slots(4)
        assert fewest == 4

    run(in_world(14, story))


@pytest.mark.parametrize("fallen", [False, True])
def test_a_stack_comes_up_in_the_order_of_what_it_depends_on(fallen: bool) -> None:
    """A job completes, then the slow one gets healthy, then the others start; also when the leader dies meanwhile."""

    async def story(world: World) -> None:
        job = ServiceSpec(
            name="shop_job",
            stack="shop",
            task=TaskSpec(container=ContainerSpec(image="job:1"), restart=RestartPolicy(condition="none")),
        )
        check = HealthCheck(test=("CMD", "true"))
        slow = ServiceSpec(
            name="shop_slow",
            stack="shop",
            task=TaskSpec(container=ContainerSpec(image="slow:1", healthcheck=check)),
            depends_on=(Dependency(service="shop_job", condition="service_completed_successfully"),),
        )
        needs = (Dependency(service="shop_slow", condition="service_healthy", restart=True),)
        wanted = web("app:1")
        wanted = msgspec.structs.replace(wanted, spec=msgspec.structs.replace(wanted.spec, depends_on=needs))
        stack = [ServiceDeploy(spec=job, replicas=1), ServiceDeploy(spec=slow, replicas=2), wanted]
        await deploy(world, *stack)
        if fallen:
            world.crash_controller(world.leader())
        await world.until(lambda: bool(world.running("shop_slow")), 60, "the job has completed")
        assert world.running("shop_web") == []
        await world.until(lambda: rollout(world).phase == "done", 60, "it stands")
        before = images(world), rollout(world).revision
        task = msgspec.structs.replace(slow.task, force=1)
        changed = ServiceDeploy(spec=msgspec.structs.replace(slow, task=task), replicas=2)
        await deploy(world, stack[0], changed, wanted)
        await world.until(lambda: rollout(world).deploy == 2 and rollout(world).phase == "done", 90, "web followed")
        assert (images(world), rollout(world).revision) == (before[0], before[1] + 1)

    run(in_world(23, story))
