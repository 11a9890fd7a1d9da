"""A leader may be behind for `LAG`, and not for longer without knowing it: what one that does not find it out, or does
not heed it (`controller.caution`), takes down is caught by the watch of promises."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from bus.memory_faults import Rule
from bus.users import controller_user
from controller.caution import Caution
from controller.follower import Follower
from schemas.serviceapi import ServiceDeploy
from tests.sim.basis import LAG
from tests.sim.stage import Stage, play, web
from tests.sim.test_rollouts import rollout
from tests.sim.test_world import deploy
from tests.sim.world import World, silence_logs

OBSERVED = "mesh.observed.>"
FELL = "3"
"""The slot that fails; not the first one, whose turn comes at once."""

LONG = LAG + 1

Act = Callable[[World, pytest.MonkeyPatch], None]


@pytest.fixture(autouse=True)
def quiet() -> None:
    silence_logs()


def stale(world: World, _: pytest.MonkeyPatch) -> None:
    """Snapshots are behind from now on."""
    world.broker.faults.snapshot_lag = 20


def silent(_: World, patch: pytest.MonkeyPatch) -> None:
    """A planted bug: mirrors ask for no snapshot of observations."""
    resync = Follower.resync

    async def only_of_the_state(self: Follower, why: str, at_least: int = 0) -> None:
        if self.name != "observed":
            await resync(self, why, at_least)

    patch.setattr(Follower, "resync", only_of_the_state)


def heedless(_: World, patch: pytest.MonkeyPatch) -> None:
    """A planted bug: leaders that know that they are behind go on by what they know."""
    patch.setattr(Caution, "holds_back", lambda *_: False)


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


async def _updated_unheard(stage: Stage, patch: pytest.MonkeyPatch, act: Act) -> None:
    """A task fails, its leader does not hear of it, and then an update comes."""
    world = stage.world
    first = web("app:1", parallelism=1, max_unavailable="1")
    await stage.stands(first)
    leader = world.leader()
    world.broker.faults.add(Rule(subject=OBSERVED, receiver=controller_user(leader)))
    ((_, life),) = world.live()["shop_web", FELL]
    life.end(1)
    act(world, patch)
    await asyncio.sleep(LONG)
    before = stage.promises.seen["max_unavailable"]
    await deploy(world, changed(first))
    await world.until(lambda: stage.promises.seen["max_unavailable"] > before, 10, "a slot is taken down")
    assert world.leader() == leader
    assert FELL not in world.running("shop_web")
    world.broker.faults.clear()
    patch.undo()
    await world.until(lambda: rollout(world).phase == "done", 60, "it is updated")


PLANTS: dict[str, Act] = {
    "never asks what it has missed": silent,
    "never asks, and would be answered with the past": both(stale, silent),
    "takes tasks down by what it is told of the past": both(stale, heedless),
}


@pytest.mark.parametrize("bug", PLANTS)
def test_the_watch_catches_a_leader_that(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    play(lambda stage: _updated_unheard(stage, monkeypatch, PLANTS[bug]), "and 1 may be unavailable")
