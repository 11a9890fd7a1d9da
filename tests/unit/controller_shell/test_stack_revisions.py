"""A stack's numbered past: each change is kept whole, and going back is one step. Real controllers in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest

from controller.records import Records
from schemas.errors import NotFound, Refused
from schemas.revisionapi import RollbackService
from schemas.serviceapi import RemoveServices, ScaleServices, ServiceDeploy
from schemas.spec import Dependency, UpdatePolicy
from schemas.stackapi import GetStackHistory, RemoveStack, RollbackStack, StackHistory, StackRolledBack
from tests.sim.loop import run
from tests.unit.controller_shell.pretend import CONFIG_ID, Mesh, mesh_of, ready, spec

QUICK = UpdatePolicy(monitor=0.0, parallelism=0)


def part(name: str, image: str = "app:1", replicas: int = 1) -> ServiceDeploy:
    made = spec(f"shop_{name}", "shop", image=image)
    return ServiceDeploy(spec=type(made)(name=made.name, stack="shop", task=made.task, update=QUICK), replicas=replicas)


def told(scenario: Callable[[Mesh], Coroutine[Any, Any, None]]) -> None:
    async def play() -> None:
        async with mesh_of(controllers=2, agents=2) as mesh:
            await ready(mesh)
            await scenario(mesh)

    run(play())


def records(mesh: Mesh) -> Records:
    return mesh.controllers["c1"].mirror.records


async def history(mesh: Mesh, *specs: int) -> StackHistory:
    answer: StackHistory = await mesh.ask("stack.history", GetStackHistory(stack="shop", specs=specs))
    return answer


async def done(mesh: Mesh, revision: int) -> None:
    """Until that revision of the stack has come up as a whole."""
    await mesh.until(lambda: "shop" in records(mesh).stack_good)
    await mesh.until(lambda: records(mesh).stack_good["shop"].good[-1] == revision)


async def back(mesh: Mesh, **how: Any) -> StackRolledBack:
    answer: StackRolledBack = await mesh.ask("stack.rollback", RollbackStack(stack="shop", **how))
    return answer


def targets(mesh: Mesh) -> dict[str, int]:
    services = records(mesh).services
    return {name: each.record.target for name, each in sorted(services.items()) if not each.record.removed}


def test_each_change_of_a_stack_is_a_revision_and_an_unchanged_deploy_is_none() -> None:
    async def scenario(mesh: Mesh) -> None:
        await mesh.deploy(part("web"))
        await mesh.deploy(part("web"), part("api"))
        await done(mesh, 2)
        before = mesh.broker.state.existing().last
        answer = await mesh.deploy(part("web"), part("api"))
        assert {each.change for each in answer.services} == {"unchanged"}
        await asyncio.sleep(5)
        assert mesh.broker.state.existing().last == before
        assert len(records(mesh).revisions_of("shop_web")) == 1
        await mesh.deploy(part("web", "app:2"))
        await mesh.ask("service.rollback", RollbackService(service="shop_web"))
        await mesh.ask("service.scale", ScaleServices(replicas={"shop_api": 2}))
        await mesh.ask("service.remove", RemoveServices(services=("shop_api",)))
        found = (await history(mesh, 2)).revisions
        members = [{name: each.revision for name, each in view.services.items()} for view in found]
        assert members == [
            {"shop_web": 1},
            {"shop_web": 1, "shop_api": 1},
            {"shop_web": 2, "shop_api": 1},
            {"shop_web": 1, "shop_api": 1},
            {"shop_web": 1},
        ]
        assert [view.target for view in found] == [True, False, False, False, False]
        assert [view.good for view in found][3] is True
        assert sorted(found[3].specs) == ["shop_api", "shop_web"]
        with pytest.raises(NotFound, match="no revision 77"):
            await history(mesh, 77)

    told(scenario)


def test_a_stack_goes_back_as_one_batch_and_back_means_removed_and_brought_back_too() -> None:
    async def scenario(mesh: Mesh) -> None:
        await mesh.deploy(part("web"), part("old", replicas=2))
        await done(mesh, 1)
        await mesh.deploy(part("web", "app:2"), part("new"), prune=True)
        await done(mesh, 2)
        await mesh.until(lambda: "shop_old" not in records(mesh).services)
        assert records(mesh).revisions_of("shop_old") == (1,), "kept: revision 1 of the stack names it"
        seen = await back(mesh, preview=True)
        assert targets(mesh) == {"shop_new": 1, "shop_web": 2}, "a preview changes nothing"
        batches: list[list[str]] = []
        mesh.broker.state.on_commit = lambda user, batch, fence, outcome: batches.append([each.key for each in batch])
        answer = await back(mesh, command="go")
        assert answer.pruned == seen.pruned == ("shop_new",)
        changes = {each.service: (each.change, each.revision) for each in answer.services}
        assert changes == {"shop_old": ("created", 1), "shop_web": ("rolled_back", 1)}
        assert (answer.before, answer.revision, answer.targets) == (2, 1, {"shop_web": 2})
        batch = next(batch for batch in batches if "stack.shop" in batch)
        assert sorted(batch) == ["service.shop_new", "service.shop_old", "service.shop_web", "stack.shop"]
        await mesh.until(lambda: mesh.running("shop_new") == [] and len(mesh.running("shop_old")) == 2)
        await done(mesh, 1)
        sequence = mesh.broker.state.existing().last
        again = await back(mesh, command="go")
        assert (again.revision, mesh.broker.state.existing().last) == (1, sequence)
        forward = await back(mesh, to=2)
        assert {each.service: each.change for each in forward.services} == {
            "shop_new": "created",
            "shop_web": "rolled_back",
        }
        await mesh.until(lambda: targets(mesh) == {"shop_new": 1, "shop_web": 2})

    told(scenario)


def test_the_last_good_revision_is_the_last_of_which_everything_came_up() -> None:
    async def scenario(mesh: Mesh) -> None:
        await mesh.deploy(part("web"), part("api"))
        await done(mesh, 1)
        for agent in mesh.agents.values():
            agent.images["bad:1"] = CONFIG_ID.replace("ab", "ee")
        await mesh.ask("service.scale", ScaleServices(replicas={"shop_web": 0}))
        await mesh.deploy(part("web", "app:2"), part("api", replicas=2))
        await done(mesh, 2)
        for agent in list(mesh.agents):
            await mesh.kill(agent)
        await mesh.deploy(part("web", "bad:1"), part("api", replicas=2), resolve_image="never")
        await mesh.deploy(part("web", "bad:2"), part("api", replicas=2), resolve_image="never")
        answer = await back(mesh, last_good=True)
        assert (answer.before, answer.revision) == (4, 2)
        assert targets(mesh)["shop_web"] == 2
        plain = await back(mesh)
        assert plain.revision == 1
        with pytest.raises(Refused, match="no revision before 1"):
            await back(mesh)
        with pytest.raises(NotFound, match="no revision 9"):
            await back(mesh, to=9)

    told(scenario)


def test_going_back_replaces_those_that_asked_for_it_along_with_what_they_depend_on() -> None:
    async def scenario(mesh: Mesh) -> None:
        needs = (Dependency(service="shop_db", condition="service_started", restart=True),)
        web = part("web")
        web = msgspec.structs.replace(web, spec=msgspec.structs.replace(web.spec, depends_on=needs))
        await mesh.deploy(part("db"), web)
        await done(mesh, 1)
        await mesh.deploy(part("db", "app:2"), web)
        await done(mesh, 2)
        assert targets(mesh) == {"shop_db": 2, "shop_web": 2}, "web was dragged along"
        before = {task.id for task in await mesh.tasks(service="shop_web") if task.state == "running"}
        await back(mesh)
        await done(mesh, 1)
        assert targets(mesh) == {"shop_db": 1, "shop_web": 1}
        after = {task.id for task in await mesh.tasks(service="shop_web") if task.state == "running"}
        assert len(after) == 1
        assert not before & after

    told(scenario)


def test_replicas_come_back_unless_somebody_has_scaled_since() -> None:
    async def scenario(mesh: Mesh) -> None:
        await mesh.deploy(part("web", replicas=1), part("api", replicas=1))
        await mesh.deploy(part("web", replicas=3), part("api", replicas=3))
        await mesh.ask("service.scale", ScaleServices(replicas={"shop_api": 7}))
        answer = await back(mesh)
        assert answer.replicas == {"shop_web": 1}
        assert {name: each.record.replicas for name, each in records(mesh).services.items()} == {
            "shop_web": 1,
            "shop_api": 7,
        }
        assert {each.change for each in answer.services} == {"scaled", "unchanged"}

    told(scenario)


def test_ten_revisions_are_kept_with_all_that_they_name_and_nothing_is_left_of_a_removed_stack() -> None:
    async def scenario(mesh: Mesh) -> None:
        await mesh.deploy(part("web"), part("rare"))
        await done(mesh, 1)
        for number in range(2, 13):
            await mesh.deploy(part("web", f"app:{number % 2 + 1}"), part(f"x{number % 3}"), prune=True)
        kept = [view.number for view in (await history(mesh)).revisions]
        assert kept[:10] == list(range(12, 2, -1))
        assert set(kept[10:]) <= {1}, "the last good one"
        await done(mesh, 12)
        await mesh.deploy(part("web", "app:2"), part("x0"), prune=True)
        await mesh.until(lambda: not records(mesh).revisions_of("shop_rare"))
        found = (await history(mesh)).revisions
        assert len(found) == 10
        for view in found:
            for name, member in view.services.items():
                assert (name, member.revision) in records(mesh).revisions
        await mesh.ask("stack.remove", RemoveStack(stack="shop"))
        left = records(mesh)
        await mesh.until(lambda: not (left.stacks or left.revisions or left.stack_revisions or left.stack_good))

    told(scenario)


def test_a_stack_that_was_removed_has_no_past_when_it_is_made_anew() -> None:
    async def scenario(mesh: Mesh) -> None:
        await mesh.deploy(part("web"))
        await mesh.deploy(part("web", "app:2"))
        await mesh.ask("stack.remove", RemoveStack(stack="shop"))
        await mesh.deploy(part("web"))
        await mesh.until(lambda: len(records(mesh).stack_revisions) == 1)
        assert [view.target for view in (await history(mesh)).revisions] == [True]

    told(scenario)
