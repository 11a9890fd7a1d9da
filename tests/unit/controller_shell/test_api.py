"""What the api accepts, refuses and answers: real controllers in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest

from controller.api.server import AGENT_HANDLERS, HANDLERS
from schemas import subjects
from schemas.api import REQUESTS
from schemas.errors import BadMessage, Conflict, ImageUnavailable, NotFound, Refused
from schemas.memberapi import AGENT_REQUESTS, InspectNode, ListNodes, RemoveNode, UpdateNode
from schemas.replies import open_reply
from schemas.serviceapi import InspectService, ListServices, PutService, RemoveServices, ScaleServices, ServiceDeploy
from schemas.spec import Constraint, Placement, Resources, ServiceSpec
from schemas.statusapi import GetStatus
from schemas.taskapi import InspectTask
from schemas.wire import encode
from tests.sim.loop import run
from tests.unit.controller_shell.pretend import CONFIG_ID, Mesh, mesh_of, ready, spec, stack_of

WEB = ServiceDeploy(spec=spec("shop_web", "shop"), replicas=2)


def on_a_mesh(scenario: Callable[[Mesh], Coroutine[Any, Any, None]], agents: int = 3, controllers: int = 2) -> None:
    """Play a scenario on a mesh that is ready."""

    async def play() -> None:
        async with mesh_of(controllers=controllers, agents=agents) as mesh:
            await ready(mesh)
            await scenario(mesh)

    run(play())


def test_every_request_of_the_language_has_its_handler() -> None:
    assert set(HANDLERS) == set(REQUESTS)
    assert set(AGENT_HANDLERS) == set(AGENT_REQUESTS)


def test_an_unchanged_stack_writes_nothing_and_says_so() -> None:
    async def scenario(mesh: Mesh) -> None:
        first = await mesh.deploy(WEB)
        await asyncio.sleep(10)
        before = mesh.broker.state.existing().last
        again = await mesh.deploy(WEB)
        assert [each.change for each in again.services] == ["unchanged"]
        assert mesh.broker.state.existing().last == before
        assert again.sequence >= first.sequence

    on_a_mesh(scenario)


def test_a_stack_is_one_atomic_batch() -> None:
    async def scenario(mesh: Mesh) -> None:
        batches: list[list[str]] = []
        mesh.broker.state.on_commit = lambda user, batch, fence, outcome: batches.append([each.key for each in batch])
        await mesh.deploy(WEB, ServiceDeploy(spec=spec("shop_api", "shop")))
        stack = next(batch for batch in batches if "stack.shop" in batch)
        assert sorted(stack) == sorted(
            [
                "service.shop_web",
                "revision.shop_web.1",
                "service.shop_api",
                "revision.shop_api.1",
                "stack.shop",
                "stackrev.shop.1",
            ]
        )

    on_a_mesh(scenario)


def test_services_that_a_stack_no_longer_names_go_only_with_prune() -> None:
    async def scenario(mesh: Mesh) -> None:
        await mesh.deploy(WEB, ServiceDeploy(spec=spec("shop_api", "shop")))
        assert (await mesh.deploy(WEB)).pruned == ()
        assert (await mesh.deploy(WEB, prune=True)).pruned == ("shop_api",)
        await mesh.until(lambda: mesh.running("shop_api") == [])
        listed = await mesh.ask("service.list", ListServices())
        assert [view.record.name for view in listed.services] == ["shop_web"]

    on_a_mesh(scenario)


def test_an_image_is_pinned_before_its_revision_is_written() -> None:
    async def scenario(mesh: Mesh) -> None:
        answer = await mesh.deploy(WEB)
        assert [each.image_id for each in answer.services] == [CONFIG_ID]
        view = await mesh.ask("service.inspect", InspectService(service="shop_web", min_sequence=answer.sequence))
        assert view.spec.task.container.image_id == CONFIG_ID
        for agent in mesh.agents.values():
            agent.images["app:1"] = CONFIG_ID.replace("ab", "ef")
        unasked = await mesh.deploy(WEB, resolve_image="never")
        assert [each.change for each in unasked.services] == ["unchanged"]
        unasked = await mesh.deploy(WEB, resolve_image="changed")
        assert [each.change for each in unasked.services] == ["unchanged"]
        asked = await mesh.deploy(WEB)
        assert [each.change for each in asked.services] == ["updated"], "the tag has moved"
        with pytest.raises(Refused, match="resolve_image"):
            await mesh.deploy(WEB, resolve_image="perhaps")

    on_a_mesh(scenario)


def test_an_image_that_only_one_node_of_many_has_is_found() -> None:
    async def scenario(mesh: Mesh) -> None:
        mesh.agents["n7"].images["rare:1"] = CONFIG_ID
        rare = ServiceDeploy(spec=spec("shop_rare", "shop", image="rare:1"))
        assert (await mesh.deploy(rare)).services[0].image_id == CONFIG_ID
        with pytest.raises(ImageUnavailable):
            await mesh.deploy(ServiceDeploy(spec=spec("shop_none", "shop", image="none:1")))
        for number in range(1, 8):
            mesh.agents[f"n{number}"].images["split:1"] = f"sha256:{number:064d}"
        with pytest.raises(Refused, match="n1 has sha256:000000000000, n2 has"):
            await mesh.deploy(ServiceDeploy(spec=spec("shop_split", "shop", image="split:1")))

    on_a_mesh(scenario, agents=7)


def test_without_nodes_a_stack_is_accepted_with_warnings() -> None:
    async def scenario(mesh: Mesh) -> None:
        warnings = " | ".join((await mesh.deploy(WEB)).warnings)
        assert "not pinned" in warnings
        assert "no node has joined" in warnings

    on_a_mesh(scenario, agents=0)


def with_task(name: str, **task: Any) -> ServiceDeploy:
    """A service with other task fields."""
    plain = spec(name, "shop")
    return ServiceDeploy(spec=msgspec.structs.replace(plain, task=msgspec.structs.replace(plain.task, **task)))


def test_what_can_not_run_as_things_are_is_accepted_with_a_warning() -> None:
    async def scenario(mesh: Mesh) -> None:
        greedy = with_task("shop_greedy", reservations=Resources(cpus=64, memory=1 << 40))
        warnings = (await mesh.deploy(greedy)).warnings
        assert warnings == (
            "service shop_greedy reserves 64 CPUs, the largest fitting node has 4",
            "service shop_greedy reserves 1,048,576 MiB, the largest fitting node has 8,192",
        )
        nowhere = Placement(constraints=(Constraint(key="node.labels.zone", op="==", value="mars"),))
        warnings = (await mesh.deploy(with_task("shop_mars", placement=nowhere))).warnings
        assert warnings[-1] == "service shop_mars: no node fulfils node.labels.zone==mars; it waits for one"
        many = await mesh.deploy(ServiceDeploy(spec=spec("shop_many", "shop"), replicas=10_000))
        assert many.services[0].change == "created"
        tasks = await mesh.tasks(service="shop_mars", ended=False)
        assert [(task.state, task.id) for task in tasks] == [("pending", "")]

    on_a_mesh(scenario)


@pytest.mark.parametrize(
    ("services", "match"),
    [
        ((), "has no services"),
        ((WEB, WEB), "stands twice"),
        ((ServiceDeploy(spec=spec("other", "else")),), "says it is of stack 'else'"),
        ((ServiceDeploy(spec=spec("shop_x", "shop", image=" ")),), "names no image"),
        ((ServiceDeploy(spec=spec("shop_x", "shop", environment={"A": "x" * 70_000})),), "at most 65,536"),
        ((ServiceDeploy(spec=spec("shop_x", "shop", hostname="{{.Task.Colour}}")),), "nobody fills"),
        ((ServiceDeploy(spec=spec("shop_x", "shop"), replicas=10**6),), "at most 20,000"),
        (tuple(ServiceDeploy(spec=spec(f"shop_{n}", "shop")) for n in range(91)), "at most 90"),
    ],
)
def test_a_stack_that_can_not_be_meant_is_refused(services: tuple[ServiceDeploy, ...], match: str) -> None:
    async def scenario(mesh: Mesh) -> None:
        with pytest.raises(Refused, match=match):
            await mesh.deploy(*services)
        assert mesh.broker.state.existing().get("stack.shop") is None

    on_a_mesh(scenario, agents=0, controllers=1)


def test_a_spec_of_two_mebibytes_and_odd_names_get_a_clear_answer() -> None:
    async def scenario(mesh: Mesh) -> None:
        with pytest.raises(Refused, match="at most 65,536"):
            await mesh.deploy(ServiceDeploy(spec=spec("shop_x", "shop", environment={"A": "x" * 2_000_000})))
        body = encode(stack_of(WEB)).replace(b'"shop_web"', b'"Shop.Web"')
        reply = await mesh.operator.core.request(subjects.api("stack", "deploy"), body, timeout=5)
        with pytest.raises(BadMessage, match="regex"):
            open_reply(reply, GetStatus)
        body = encode(ScaleServices(replicas={"shop_web": 1})).replace(b":1}", b":-1}")
        reply = await mesh.operator.core.request(subjects.api("service", "scale"), body, timeout=5)
        with pytest.raises(BadMessage, match=">= 0"):
            open_reply(reply, GetStatus)

    on_a_mesh(scenario, agents=0, controllers=1)


def put(of: ServiceSpec, **more: Any) -> PutService:
    """service.put."""
    return PutService(service=ServiceDeploy(spec=of), **more)


def test_a_service_is_made_once_and_changed_only_as_it_was_seen() -> None:
    async def scenario(mesh: Mesh) -> None:
        with pytest.raises(NotFound, match="no service 'web'"):
            await mesh.ask("service.put", put(spec("web"), create=False))
        made = await mesh.ask("service.put", put(spec("web"), create=True))
        with pytest.raises(Conflict, match="exists already"):
            await mesh.ask("service.put", put(spec("web"), create=True))
        seen = await mesh.ask("service.inspect", InspectService(service="web", min_sequence=made.sequence))
        await mesh.ask("service.put", put(spec("web", image="app:2"), expected=seen.sequence))
        with pytest.raises(Conflict, match="has changed since"):
            await mesh.ask("service.put", put(spec("web", image="app:1"), expected=seen.sequence))
        with pytest.raises(Conflict, match="without a stack"):
            await mesh.ask("stack.deploy", stack_of(ServiceDeploy(spec=spec("web", "shop"))))

    on_a_mesh(scenario)


def test_scaling_and_removing_name_what_is_wrong() -> None:
    async def scenario(mesh: Mesh) -> None:
        await mesh.deploy(WEB, ServiceDeploy(spec=spec("shop_edge", "shop", mode="global")))
        with pytest.raises(Refused, match="is global"):
            await mesh.ask("service.scale", ScaleServices(replicas={"shop_edge": 2}))
        with pytest.raises(NotFound) as missing:
            await mesh.ask("service.scale", ScaleServices(replicas={"shop_wbe": 2}))
        assert "shop_web" in missing.value.hint
        with pytest.raises(NotFound):
            await mesh.ask("service.remove", RemoveServices(services=("shop_web", "nothing")))
        with pytest.raises(Refused, match="no service"):
            await mesh.ask("service.remove", RemoveServices(services=()))
        await mesh.ask("service.remove", RemoveServices(services=("shop_web",)))
        await mesh.until(lambda: mesh.running("shop_web") == [])
        await mesh.until(lambda: mesh.running("shop_edge") == ["n1", "n2", "n3"])

    on_a_mesh(scenario)


def test_many_writers_at_once_lose_nothing() -> None:
    async def scenario(mesh: Mesh) -> None:
        async def one(number: int) -> None:
            await mesh.ask("service.put", put(spec(f"s{number}"), create=True))

        async with asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(one(number))
        async with asyncio.TaskGroup() as group:
            for number in range(6):
                labels = UpdateNode(node="n1", labels_add={f"l{number}": "x"})
                group.create_task(mesh.ask("node.update", labels))
        node = await mesh.ask("node.inspect", InspectNode(node="n1", min_sequence=mesh.broker.state.existing().last))
        assert set(node.labels) == {f"l{number}" for number in range(6)}
        assert len((await mesh.ask("service.list", ListServices())).services) == 20

    on_a_mesh(scenario)


def test_a_node_is_drained_and_removed() -> None:
    async def scenario(mesh: Mesh) -> None:
        await mesh.deploy(WEB)
        await mesh.until(lambda: len(mesh.running("shop_web")) == 2)
        node = next(name for name, agent in mesh.agents.items() if agent.running)
        await mesh.ask("node.update", UpdateNode(node=node, availability="drain"))
        await mesh.until(lambda: not mesh.agents[node].running and len(mesh.running("shop_web")) == 2)
        await mesh.until(lambda: len(mesh.events("node.drained")) == 1)
        with pytest.raises(Refused, match="is ready, not down"):
            await mesh.ask("node.remove", RemoveNode(node=node))
        with pytest.raises(NotFound):
            await mesh.ask("node.remove", RemoveNode(node="n77"))
        written = await mesh.ask("node.remove", RemoveNode(node=node, force=True))
        listed = await mesh.ask("node.list", ListNodes(min_sequence=written.sequence))
        assert node not in [view.node for view in listed.nodes]
        await mesh.until(lambda: (answer := mesh.agents[node].answer) is not None and "removed" in answer.refused)
        with pytest.raises(Refused, match="was removed"):
            await mesh.agents[node].join()
        with pytest.raises(Refused, match="no label"):
            await mesh.ask("node.update", UpdateNode(node="n1" if node != "n1" else "n2", labels_add={"a b": "x"}))

    on_a_mesh(scenario)


def test_a_task_is_found_by_id_prefix_or_container() -> None:
    async def scenario(mesh: Mesh) -> None:
        await mesh.deploy(WEB)
        await mesh.until(lambda: len(mesh.running("shop_web")) == 2)
        await asyncio.sleep(1)
        tasks = await mesh.tasks(service="shop_web")
        assert [(task.slot, task.state) for task in tasks if task.current] == [("1", "running"), ("2", "running")]
        found = await mesh.ask("task.inspect", InspectTask(task=tasks[0].id))
        assert found.task.id == tasks[0].id
        assert found.placement
        assert found.spec.name == "shop_web"
        by_container = await mesh.ask("task.inspect", InspectTask(task=tasks[1].container))
        assert by_container.task.id == tasks[1].id
        with pytest.raises(Refused, match="may be any of"):
            await mesh.ask("task.inspect", InspectTask(task=tasks[0].id.split("-")[0]))
        with pytest.raises(NotFound):
            await mesh.ask("task.inspect", InspectTask(task="zzz"))
        with pytest.raises(NotFound):
            await mesh.tasks(service="shop_wbe")

    on_a_mesh(scenario)
