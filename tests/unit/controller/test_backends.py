"""Who stands behind a name: only what a node was given to run, with addresses of its own range."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from controller.changes import PutAllocation, PutEndpoints
from controller.plan import plan
from controller.world import Stored, World
from schemas.network import AllocationRecord, Attachment, Backend, NetworkRecord
from schemas.observation import ObservedTask
from schemas.spec import ServiceSpec
from tests.unit.controller.model import EVERYTHING, Mesh, service_spec

NODES = ("n1", "n2", "n3")


def on_network(name: str) -> ServiceSpec:
    spec = service_spec(name)
    container = msgspec.structs.replace(spec.task.container, networks=(Attachment(network="app"),))
    return msgspec.structs.replace(spec, task=msgspec.structs.replace(spec.task, container=container))


@pytest.fixture
def mesh() -> Mesh:
    """`web` and `db` run once each on a network; one node has neither."""
    made = Mesh()
    for number, name in enumerate(NODES):
        agent = made.add_node(name, networking="")
        agent.facts = msgspec.structs.replace(agent.facts, address=f"10.0.0.{number + 1}")
    made.round()
    made.deploy(on_network("web"), replicas=1)
    made.deploy(on_network("db"), replicas=1)
    made.settle()
    return made


def where(mesh: Mesh, service: str) -> str:
    return mesh.running(service)["1"]


def world_of(mesh: Mesh) -> World:
    return replace(mesh.world(), networks={"app": Stored(NetworkRecord(name="app"), 5)})


def allotted(mesh: Mesh) -> AllocationRecord:
    decided = plan(world_of(mesh), EVERYTHING, mesh.now)
    return next(change.record for change in decided.changes if isinstance(change, PutAllocation))


def backends(mesh: Mesh, tasks: dict[str, tuple[ObservedTask, ...]]) -> dict[str, tuple[Backend, ...]]:
    """Service -> what stands behind it, where these nodes tell these tasks in place of theirs."""
    told = {node: msgspec.structs.replace(mesh.observations[node], tasks=each) for node, each in tasks.items()}
    world = replace(world_of(mesh), allocations={"app": allotted(mesh)}, observations={**mesh.observations, **told})
    decided = plan(world, EVERYTHING, mesh.now)
    return {each.record.service: each.record.backends for each in decided.changes if isinstance(each, PutEndpoints)}


def told_of(mesh: Mesh, service: str, **changes: object) -> ObservedTask:
    found = next(task for task in mesh.observations[where(mesh, service)].tasks if task.service == service)
    return msgspec.structs.replace(found, **changes)


def first_of(mesh: Mesh, node: str) -> str:
    gateway = allotted(mesh).nodes[node].gateway
    head, _, last = gateway.rpartition(".")
    return f"{head}.{int(last) + 1}"


def test_a_task_stands_behind_its_service_with_its_address(mesh: Mesh) -> None:
    node = where(mesh, "db")
    address = first_of(mesh, node)
    found = backends(mesh, {node: (told_of(mesh, "db", addresses={"app": address}),)})
    assert [(each.node, each.address) for each in found["db"]] == [(node, address)]


def test_a_successor_of_its_agent_does_so_too(mesh: Mesh) -> None:
    node = where(mesh, "db")
    task = told_of(mesh, "db")
    heir = msgspec.structs.replace(
        task, id=f"{task.id}.r1", predecessor=task.id, addresses={"app": first_of(mesh, node)}
    )
    assert [each.task for each in backends(mesh, {node: (heir,)})["db"]] == [heir.id]


@pytest.mark.parametrize(
    "address",
    [
        "10.9.9.9 }\nflush ruleset\nadd table ip pwned {",
        "nonsense",
        "",
        "10.9.9.9",
        "::1",
        "010.192.1.2",
    ],
)
def test_an_address_that_is_none_of_its_range_stands_nowhere(address: str, mesh: Mesh) -> None:
    node = where(mesh, "db")
    assert backends(mesh, {node: (told_of(mesh, "db", addresses={"app": address}),)})["db"] == ()


def test_a_node_that_was_given_nothing_of_a_service_does_not_answer_for_it(mesh: Mesh) -> None:
    """Whatever it tells: with an id of its own, that of another node's task, or one of its own of another service."""
    db, web = where(mesh, "db"), where(mesh, "web")
    address = first_of(mesh, web)
    own = told_of(mesh, "web", addresses={"app": address})
    for id_ in ("zz-1", told_of(mesh, "db").id, own.id):
        claimed = told_of(mesh, "db", id=id_, addresses={"app": address})
        found = backends(mesh, {db: (), web: (own, claimed)})
        assert [each.task for each in found["web"]] == [own.id]
        assert found["db"] == ()
