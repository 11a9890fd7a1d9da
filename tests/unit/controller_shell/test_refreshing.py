"""service.refresh: only what has moved gets a new revision, and the rest is told."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.errors import NotFound
from schemas.refreshapi import RefreshAnswer, RefreshServices
from schemas.serviceapi import PutService, ServiceDeploy
from tests.unit.controller_shell.pretend import CONFIG_ID, Mesh, spec
from tests.unit.controller_shell.test_stack_revisions import history, part, records, targets, told

OTHER = CONFIG_ID.replace("ab", "ef")


async def refresh(mesh: Mesh, **how: Any) -> RefreshAnswer:
    answer: RefreshAnswer = await mesh.ask("service.refresh", RefreshServices(**how))
    return answer


def changes(answer: RefreshAnswer) -> dict[str, str]:
    return {each.service: each.change for each in answer.services}


def move(mesh: Mesh, tag: str) -> None:
    for agent in mesh.agents.values():
        agent.images[tag] = OTHER


def test_only_what_has_moved_is_rolled() -> None:
    async def scenario(mesh: Mesh) -> None:
        await mesh.deploy(part("web"), part("api", "app:2"), part("fixed", f"app@{CONFIG_ID}"), resolve_image="never")
        await refresh(mesh)
        before = mesh.broker.state.existing().last
        nothing = await refresh(mesh)
        assert changes(nothing) == {"shop_api": "same", "shop_fixed": "fixed", "shop_web": "same"}
        assert {each.revision for each in nothing.services if each.change == "same"} == {2}
        move(mesh, "app:1")
        answer = await refresh(mesh, command="now")
        assert changes(answer) == {"shop_api": "same", "shop_fixed": "fixed", "shop_web": "moved"}
        web = answer.services[2]
        assert (web.before, web.after, web.revision) == (CONFIG_ID, OTHER, 3)
        assert targets(mesh) == {"shop_api": 2, "shop_fixed": 1, "shop_web": 3}
        newest = (await history(mesh)).revisions[0]
        assert newest.services["shop_web"].revision == 3
        again = await refresh(mesh, command="now")
        assert (changes(again)["shop_web"], targets(mesh)["shop_web"]) == ("moved", 3), "done once"
        assert mesh.broker.state.existing().last > before

    told(scenario)


def test_a_refresh_without_a_move_writes_nothing() -> None:
    async def scenario(mesh: Mesh) -> None:
        await mesh.deploy(part("web"))
        await mesh.until(lambda: "shop" in records(mesh).stack_good)
        before = list(records(mesh).revisions)
        assert changes(await refresh(mesh, services=("shop_web",))) == {"shop_web": "same"}
        assert list(records(mesh).revisions) == before
        assert records(mesh).services["shop_web"].record.deploy == 1

    told(scenario)


def test_names_and_stacks_bound_it_and_what_is_not_there_is_told() -> None:
    async def scenario(mesh: Mesh) -> None:
        await mesh.deploy(part("web"), part("api"))
        await mesh.ask("service.put", _put("alone"))
        move(mesh, "app:1")
        with pytest.raises(NotFound, match="shop_wev"):
            await refresh(mesh, services=("shop_api", "shop_wev"))
        with pytest.raises(NotFound, match="stack 'shed'"):
            await refresh(mesh, stack="shed")
        assert targets(mesh) == {"alone": 1, "shop_api": 1, "shop_web": 1}
        assert changes(await refresh(mesh, services=("shop_api",))) == {"shop_api": "moved"}
        assert changes(await refresh(mesh, stack="shop")) == {"shop_api": "same", "shop_web": "moved"}
        assert changes(await refresh(mesh)) == {"alone": "moved", "shop_api": "same", "shop_web": "same"}
        assert targets(mesh) == {"alone": 2, "shop_api": 2, "shop_web": 2}

    told(scenario)


def test_who_disagrees_or_has_nothing_stays_and_the_others_go_on() -> None:
    async def scenario(mesh: Mesh) -> None:
        await mesh.deploy(part("web"), part("api", "app:2"))
        move(mesh, "app:2")
        mesh.agents["n1"].images["app:1"] = OTHER
        answer = await refresh(mesh)
        assert changes(answer) == {"shop_api": "moved", "shop_web": "unknown"}
        assert "not the same on all nodes" in answer.services[1].why
        assert targets(mesh) == {"shop_api": 2, "shop_web": 1}

    told(scenario)


def _put(name: str) -> PutService:
    return PutService(service=ServiceDeploy(spec=spec(name)))
