"""A leader may take a task for up longer than `LAG` only while stale replicas tell it so: the watch of promises lets
that pass, and nothing that a mirror does wrong meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from bus.commits import Put
from bus.memory_faults import Rule
from bus.users import controller_user
from controller.follower import Follower
from controller.mirror import _ObservedSink
from schemas.observation import Observation, ObservedTask
from schemas.serviceapi import ServiceDeploy
from schemas.wire import encode
from tests.sim.basis import LAG, Basis, Outdated
from tests.sim.loop import run
from tests.sim.shown import Shown
from tests.sim.test_promises import Stage, play, web
from tests.sim.test_rollouts import rollout
from tests.sim.test_world import deploy
from tests.sim.world import World, in_world, silence_logs

OBSERVED = "mesh.observed.>"
FELL = "3"
"""The slot that fails; not the first one, whose turn comes at once."""

LONG, SHORT = LAG + 1, LAG / 2

Act = Callable[[World, pytest.MonkeyPatch], None]


@pytest.fixture(autouse=True)
def quiet() -> None:
    silence_logs()


def stale(world: World, _: pytest.MonkeyPatch) -> None:
    """Snapshots are behind from now on."""
    world.broker.faults.snapshot_lag = 20


def whole(world: World, _: pytest.MonkeyPatch) -> None:
    """They are not."""
    world.broker.faults.snapshot_lag = 0


def silent(_: World, patch: pytest.MonkeyPatch) -> None:
    """A planted bug: mirrors ask for no snapshot of observations."""
    resync = Follower.resync

    async def only_of_the_state(self: Follower, why: str, at_least: int = 0) -> None:
        if self.name != "observed":
            await resync(self, why, at_least)

    patch.setattr(Follower, "resync", only_of_the_state)


def asking(_: World, patch: pytest.MonkeyPatch) -> None:
    """They do again."""
    patch.undo()


def deaf(_: World, patch: pytest.MonkeyPatch) -> None:
    """A planted bug: they take none over."""
    patch.setattr(_ObservedSink, "replace", lambda *_: None)


def both(first: Act, second: Act) -> Act:
    def act(world: World, patch: pytest.MonkeyPatch) -> None:
        first(world, patch)
        second(world, patch)

    return act


def changed(service: ServiceDeploy) -> ServiceDeploy:
    """Another revision, of the same image: no node has to fetch it, and to tell that it has."""
    container = msgspec.structs.replace(service.spec.task.container, environment={"N": "2"})
    task = msgspec.structs.replace(service.spec.task, container=container)
    return msgspec.structs.replace(service, spec=msgspec.structs.replace(service.spec, task=task))


async def _updated_unheard(stage: Stage, patch: pytest.MonkeyPatch, acts: list[tuple[Act, float]]) -> None:
    """A task fails, its leader does not hear of it, and then an update comes. The acts, each with what it is followed
    by: how many seconds nothing happens."""
    world = stage.world
    first = web("app:1", parallelism=1, max_unavailable="1")
    await stage.stands(first)
    leader = world.leader()
    world.broker.faults.add(Rule(subject=OBSERVED, receiver=controller_user(leader)))
    ((_, life),) = world.live()["shop_web", FELL]
    life.end(1)
    for act, seconds in acts:
        act(world, patch)
        await asyncio.sleep(seconds)
    before = stage.promises.seen["max_unavailable"]
    await deploy(world, changed(first))
    await world.until(lambda: stage.promises.seen["max_unavailable"] > before, 10, "a slot is taken down")
    assert world.leader() == leader
    assert FELL not in world.running("shop_web")
    world.broker.faults.clear()
    patch.undo()
    await world.until(lambda: rollout(world).phase == "done", 60, "it is updated")


def test_what_fell_is_up_to_a_leader_that_is_answered_with_the_past(monkeypatch: pytest.MonkeyPatch) -> None:
    play(lambda stage: _updated_unheard(stage, monkeypatch, [(stale, 3 * LAG)]))


PLANTS: dict[str, list[tuple[Act, float]]] = {
    "never asks": [(silent, LONG)],
    "never asks, and would be answered with the past": [(both(stale, silent), LONG)],
    "asks too late": [(both(stale, silent), LONG), (asking, SHORT)],
    "asks no more": [(stale, LONG), (silent, 2 * LAG)],
    "asks now and then": [(stale, SHORT), (silent, 2 * LAG), (asking, SHORT)],
    "does not take over what it is answered": [(both(stale, deaf), LONG), (whole, SHORT), (stale, SHORT)],
}


@pytest.mark.parametrize("bug", PLANTS)
def test_the_watch_catches_a_leader_that(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    play(lambda stage: _updated_unheard(stage, monkeypatch, PLANTS[bug]), "and 1 may be unavailable")


@pytest.mark.parametrize("heard", [True, False])
def test_what_a_leader_has_heard_of_is_down_whatever_it_is_answered(heard: bool) -> None:
    def tells(state: str) -> Observation:
        task = ObservedTask(id="1-1", service="web", slot="1", revision=1, spec="s", state=state)  # type: ignore[arg-type]
        return Observation(node="n1", instance="i", boot="b", counter=1, tasks=(task,))

    async def story(world: World) -> None:
        shown, up, failed = Shown(world), tells("running"), tells("failed")
        shown.epoch = 7
        shown.observed([Put("n1", encode(up))])
        shown.observed([Put("n1", encode(failed))])
        fell = world.now
        assert shown.was_up("1-1")
        await asyncio.sleep(LONG)
        assert not shown.was_up("1-1")
        row = Outdated(fell, world.now)
        world.decided_by[7] = Basis(world.now, {"n1": failed if heard else up}, {}, {}, row)
        assert shown.was_up("1-1") is not heard

    run(in_world(1, story))
