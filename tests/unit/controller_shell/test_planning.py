"""stack.plan: what a deploy would do, told without doing it; and plans that are kept until the mesh has moved on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from schemas.errors import Conflict
from schemas.memberapi import UpdateNode
from schemas.planapi import PlanStack, StackPlan
from schemas.serviceapi import PutService, ScaleServices, ServiceDeploy
from tests.unit.controller_shell.pretend import CONFIG_ID, Mesh, spec
from tests.unit.controller_shell.test_stack_revisions import part, told


async def plan(mesh: Mesh, *services: ServiceDeploy, **more: Any) -> StackPlan:
    answer: StackPlan = await mesh.ask("stack.plan", PlanStack(stack="shop", services=services, **more))
    return answer


async def follow(mesh: Mesh, made: StackPlan, **more: Any) -> Any:
    return await mesh.deploy(*made.wanted, expected=made.base, resolve_image="pinned", **more)


def test_a_plan_tells_differences_and_places_and_writes_nothing() -> None:
    async def scenario(mesh: Mesh) -> None:
        await mesh.deploy(part("web", replicas=2), part("old"))
        await asyncio.sleep(10)
        before = mesh.broker.state.existing().last
        for _ in range(4):  # any controller answers, the leader or not
            made = await plan(mesh, part("web", "app:2", replicas=2), part("new", replicas=4), prune=True)
            assert {each.service: each.change for each in made.services} == {
                "shop_web": "updated",
                "shop_new": "created",
                "shop_old": "removed",
            }
            web = made.services[0]
            assert web.before is not None
            assert web.after is not None
            assert (web.before.task.container.image, web.after.task.container.image) == ("app:1", "app:2")
            assert web.after.task.container.image_id == CONFIG_ID.replace("ab", "cd")
            assert (web.revision_before, web.revision) == (1, 2)
            assert sorted(each.service for each in made.ends) == ["shop_old", "shop_web", "shop_web"]
            assert sorted(each.service for each in made.starts) == ["shop_new"] * 4 + ["shop_web"] * 2
            assert all(each.why and each.node in mesh.agents for each in made.starts)
            assert made.whole
        assert mesh.broker.state.existing().last == before
        same = await plan(mesh, part("web", replicas=2), part("old"))
        assert not same.changes
        assert (same.starts, same.ends) == ((), ())

    told(scenario)


def test_a_kept_plan_is_done_as_it_was_told() -> None:
    async def scenario(mesh: Mesh) -> None:
        made = await plan(mesh, part("web", replicas=2))
        for agent in mesh.agents.values():
            agent.images["app:1"] = CONFIG_ID.replace("ab", "ee")
        answer = await follow(mesh, made)
        assert answer.services[0].image_id == CONFIG_ID, "the image that was planned, wherever the tag is now"
        await mesh.until(lambda: len(mesh.running("shop_web")) == 2)
        assert {each.node for each in made.starts} == {node for node, agent in mesh.agents.items() if agent.running}

    told(scenario)


@pytest.mark.parametrize(
    ("name", "request_", "said"),
    [
        ("service.scale", ScaleServices(replicas={"shop_web": 5}), "service shop_web was scaled"),
        ("node.update", UpdateNode(node="n2", availability="drain"), "node n2 was draining"),
        ("node.update", UpdateNode(node="n1", labels_add={"a": "b"}), "node n1 was updated"),
    ],
)
def test_a_plan_that_the_mesh_has_moved_on_from_is_refused(name: str, request_: Any, said: str) -> None:
    async def scenario(mesh: Mesh) -> None:
        await mesh.deploy(part("web"))
        made = await plan(mesh, part("web", "app:2"))
        await mesh.ask(name, request_)
        with pytest.raises(Conflict, match=said):
            await follow(mesh, made)
        assert (await follow(mesh, await plan(mesh, part("web", "app:2")))).services[0].change == "updated"

    told(scenario)


def test_a_plan_rests_on_services_that_came_or_went_and_on_nodes_that_fell() -> None:
    async def scenario(mesh: Mesh) -> None:
        made = await plan(mesh, part("web"))
        await mesh.deploy(part("api"))
        with pytest.raises(Conflict, match="service shop_api was created; stack shop was deployed"):
            await follow(mesh, made)
        made = await plan(mesh, part("web"))
        await mesh.kill("n2")
        await mesh.until(lambda: _down(mesh))
        with pytest.raises(Conflict, match="node n2 is down now"):
            await follow(mesh, made)

    told(scenario)


def _down(mesh: Mesh) -> bool:
    leader = mesh.leader()
    return leader is not None and leader.mirror.records.liveness["n2"].verdict == "down"


def test_what_a_deploy_would_refuse_a_plan_refuses_too() -> None:
    async def scenario(mesh: Mesh) -> None:
        await mesh.ask("service.put", PutService(service=ServiceDeploy(spec=spec("shop_web"))))
        with pytest.raises(Conflict, match="made without a stack"):
            await plan(mesh, part("web"))

    told(scenario)
