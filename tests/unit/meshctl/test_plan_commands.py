"""`meshctl plan` and `stack deploy --plan` on a scripted mesh."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from schemas.errors import Conflict
from schemas.planapi import PlannedService, PlannedTask, PlanStack, StackPlan
from schemas.records import Reason
from schemas.serviceapi import DeployAnswer, Deployed, ServiceDeploy
from schemas.spec import ContainerSpec, ServiceSpec, TaskSpec
from schemas.stackapi import DeployStack
from tests.unit.meshctl.conftest import ScriptedMesh

COMPOSE = "services:\n  web:\n    image: web:2\n    deploy: {replicas: 3}\n"


def spec(image: str) -> ServiceSpec:
    return ServiceSpec(name="shop_web", stack="shop", task=TaskSpec(container=ContainerSpec(image=image)))


def planned(**changes: Any) -> StackPlan:
    web = PlannedService(
        service="shop_web",
        change="updated",
        before=spec("web:1"),
        after=spec("web:2"),
        revision_before=4,
        revision=5,
        replicas_before=2,
        replicas=3,
        waits=(Reason(text="3 nodes: 3 lack memory", count=1),),
    )
    given: dict[str, Any] = {
        "stack": "shop",
        "services": (web, PlannedService(service="shop_old", change="removed")),
        "starts": (PlannedTask(service="shop_web", slot="1", node="n2", why="3 of 3 nodes fit"),),
        "ends": (PlannedTask(service="shop_web", slot="1", node="n1", why="replaced by revision 5"),),
        "wanted": (ServiceDeploy(spec=spec("web:2"), replicas=3),),
        "base": {"service.shop_web": "17"},
    }
    return StackPlan(**{**given, **changes})


@pytest.fixture
def compose(tmp_path: Path) -> str:
    path = tmp_path / "compose.yaml"
    path.write_text(COMPOSE)
    return str(path)


def test_a_plan_tells_all_and_exits_with_1(scripted: ScriptedMesh, compose: str) -> None:
    scripted.answer("stack.plan", planned())
    ran = scripted.run("plan", "-c", compose, "--prune", "shop")
    assert ran.out.splitlines() == [
        "Stack shop: 1 service to update, 1 service to remove",
        "~ service shop_web: revision 4 -> 5",
        "    ~ replicas: 2 -> 3",
        '    ~ task.container.image: "web:1" -> "web:2"',
        "- service shop_old",
        "Tasks:",
        "  - shop_web.1 on n1: replaced by revision 5",
        "  + shop_web.1 on n2: 3 of 3 nodes fit",
        "Not placed:",
        "  shop_web: 3 nodes: 3 lack memory",
    ]
    assert ran.code == 1
    (asked,) = scripted.requests("stack.plan")
    assert isinstance(asked, PlanStack)
    assert (asked.stack, asked.prune, asked.services[0].replicas) == ("shop", True, 3)


def test_nothing_to_do_exits_with_0_and_an_error_with_more(scripted: ScriptedMesh, compose: str) -> None:
    scripted.answer("stack.plan", planned(services=(PlannedService(service="shop_web", change="unchanged"),)))
    ran = scripted.run("plan", "-c", compose, "shop")
    assert (ran.code, ran.out.strip()) == (0, "Stack shop is as the files say: nothing to do.")
    scripted.answer("stack.plan", Conflict("service shop_web exists and was made without a stack"))
    assert scripted.run("plan", "-c", compose, "shop").code == 5
    assert scripted.run("plan", "shop").code == 2


def test_a_kept_plan_is_deployed_as_it_was_told(scripted: ScriptedMesh, compose: str, tmp_path: Path) -> None:
    kept = str(tmp_path / "shop.plan")
    scripted.answer("stack.plan", planned())
    assert scripted.run("plan", "-c", compose, "--prune", "shop", "--out", kept).code == 1
    done = Deployed(service="shop_web", change="updated", revision=5, deploy=2)
    scripted.answer("stack.deploy", DeployAnswer(sequence=9, services=(done,), pruned=("shop_old",)))
    ran = scripted.run("stack", "deploy", "--plan", kept, "-d")
    assert (ran.code, ran.out.splitlines()) == (0, ["Updating service shop_web", "Removing service shop_old"])
    (asked,) = scripted.requests("stack.deploy")
    assert isinstance(asked, DeployStack)
    assert (asked.resolve_image, asked.prune, asked.expected) == ("pinned", True, {"service.shop_web": "17"})
    assert asked.services == planned().wanted
    scripted.answer("stack.deploy", Conflict("the mesh has moved on since the plan was made: node n2 is down now"))
    ran = scripted.run("stack", "deploy", "--plan", kept)
    assert (ran.code, "node n2 is down now" in ran.err) == (5, True)


def test_a_plan_can_not_be_mixed_or_read_from_anything(scripted: ScriptedMesh, compose: str, tmp_path: Path) -> None:
    kept = str(tmp_path / "shop.plan")
    scripted.answer("stack.plan", planned())
    scripted.run("plan", "-c", compose, "shop", "--out", kept)
    assert scripted.run("stack", "deploy", "--plan", kept, "-c", compose).code == 2
    assert scripted.run("stack", "deploy", "--plan", kept, "other").code == 2
    assert scripted.run("stack", "deploy", "--plan", compose).code == 2
    assert scripted.run("stack", "deploy", "--plan", str(tmp_path / "none")).code == 2
    assert scripted.run("stack", "deploy", "shop").code == 2
