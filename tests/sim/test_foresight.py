"""`plan` tells what a deploy then does, and `refresh` rolls only what moved; each is proven by a planted bug."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from agent.engine.memory_life import Program
from controller import whatif
from controller.api import refreshing
from schemas.planapi import PlanStack, StackPlan
from schemas.refreshapi import RefreshServices
from tests.sim.loop import run
from tests.sim.test_world import deploy, service, slots
from tests.sim.world import World, in_world, silence_logs

Plant = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture(autouse=True)
def quiet() -> None:
    silence_logs()


def places(world: World) -> dict[tuple[str, str], str]:
    """Service and slot -> node."""
    return {key: lives[0][0] for key, lives in world.live().items()}


def containers(world: World, name: str) -> set[str]:
    return {life.view.id for (each, _), lives in world.live().items() if each == name for _, life in lives}


async def foretold(world: World) -> None:
    """A stack grows: what was planned comes true, and planning changed nothing."""
    await deploy(world, service("shop_web", replicas=2), service("shop_api", replicas=3))
    await world.until(lambda: len(world.live()) == 5, 30, "five tasks run")
    before, last = places(world), world.broker.state.existing().last
    wanted = (service("shop_web", replicas=5), service("shop_edge", mode="global"))
    plan: StackPlan = await world.insist("stack.plan", PlanStack(stack="shop", services=wanted))
    decided = [key for key, entry in world.broker.state.existing().entries.items() if entry.sequence > last]
    assert [key for key in decided if key != "events.cursor"] == [], "a plan writes nothing"
    assert {each.service: each.change for each in plan.services} == {"shop_web": "scaled", "shop_edge": "created"}
    await deploy(world, *wanted)
    await world.until(lambda: len(world.live()) == 11, 30, "eleven tasks run")
    new = {key: node for key, node in places(world).items() if key not in before}
    assert {(each.service, each.slot): each.node for each in plan.starts} == new
    assert plan.ends == ()


async def refreshed(world: World) -> None:
    """A tag names another image by now, another tag does not."""
    await deploy(world, service("shop_web", replicas=3), service("shop_api", "app:2", replicas=3))
    await world.until(lambda: len(world.live()) == 6, 30, "six tasks run")
    before, api = containers(world, "shop_web"), containers(world, "shop_api")
    for node in world.nodes.values():
        node.engine.add_image("app:1", Program(starts_in=0.1, lines=("newer",)))
    answer = await world.insist("service.refresh", RefreshServices(stack="shop"))
    assert {each.service: each.change for each in answer.services} == {"shop_web": "moved", "shop_api": "same"}
    await world.until(lambda: not containers(world, "shop_web") & before, 90, "all of web are of the new image")
    await world.until(lambda: world.running("shop_web") == slots(3), 30, "three slots run")
    assert containers(world, "shop_api") == api, "what has not moved is not touched"


def test_a_plan_comes_true() -> None:
    run(in_world(71, foretold))


def test_a_refresh_rolls_only_what_moved() -> None:
    run(in_world(72, refreshed))


def _elsewhere(patch: pytest.MonkeyPatch) -> None:
    told = whatif._planned
    wrong = {"n1": "n2", "n2": "n3", "n3": "n1"}
    patch.setattr(
        whatif,
        "_planned",
        lambda tasks: tuple(msgspec.structs.replace(each, node=wrong[each.node]) for each in told(tasks)),
    )


def _one_less(patch: pytest.MonkeyPatch) -> None:
    told = whatif._planned
    patch.setattr(whatif, "_planned", lambda tasks: told(tasks)[1:])


def _moves_all(patch: pytest.MonkeyPatch) -> None:
    answer = refreshing._answer
    patch.setattr(refreshing, "_answer", lambda *args: msgspec.structs.replace(answer(*args), change="moved"))


PLANTS: dict[str, tuple[Plant, Callable[[World], object]]] = {
    "a plan that tells of other nodes": (_elsewhere, foretold),
    "a plan that leaves a task out": (_one_less, foretold),
    "a refresh that rolls everything": (_moves_all, refreshed),
}


@pytest.mark.parametrize("bug", PLANTS)
def test_these_stories_catch(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, story = PLANTS[bug]
    plant(monkeypatch)
    with pytest.raises(BaseExceptionGroup) as caught:
        run(in_world(71, story))  # type: ignore[arg-type]
    assert caught.group_contains(AssertionError)
