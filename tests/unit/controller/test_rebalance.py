"""Evening out: the fewest moves, and what stays where it is."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.decide import survey
from controller.rebalance import even_out
from controller.world import Stored
from schemas.rebalance import Move
from schemas.records import OrderRecord
from schemas.spec import RestartPolicy, UpdatePolicy
from tests.unit.controller.model import GIB, Mesh, service_spec, three_nodes

START_FIRST = UpdatePolicy(order="start-first", parallelism=2, monitor=1.0)
STOP_FIRST = UpdatePolicy(order="stop-first", parallelism=1, monitor=1.0)


def crowded(*names: str, replicas: int = 6, **spec: Any) -> Mesh:
    """n3 comes when everything is on n1 and n2 already."""
    mesh = Mesh()
    for name in ("n1", "n2"):
        mesh.add_node(name, labels={"zone": "a" if name == "n1" else "b"})
    for name in names or ("web",):
        mesh.deploy(service_spec(name, **spec), replicas)
    mesh.settle(steps=200, seconds=1.0)
    mesh.add_node("n3", labels={"zone": "b"})
    mesh.settle(steps=20, seconds=1.0)
    return mesh


def moves(mesh: Mesh) -> list[Move]:
    world = mesh.world()
    return even_out(world, survey(world, mesh.now).nodes, mesh.now)


def order(mesh: Mesh, found: list[Move]) -> None:
    record = OrderRecord(id="even", kind="rebalance", moves=tuple(found))
    mesh.sequence += 1
    mesh.orders["even"] = Stored(record, mesh.sequence)


def spread(mesh: Mesh, service: str = "web") -> list[int]:
    nodes = list(mesh.running(service).values())
    return [nodes.count(name) for name in sorted(mesh.agents)]


def show(mesh: Mesh, service: str, health: str) -> None:
    for agent in mesh.agents.values():
        for id_, task in agent.tasks.items():
            if task.service == service:
                agent.tasks[id_] = msgspec.structs.replace(task, health=health)


def states(mesh: Mesh) -> list[str]:
    assert mesh.rebalance is not None
    return [each.state for each in mesh.rebalance.moves]


def test_a_node_that_comes_changes_nothing_by_itself_and_is_evened_out_by_the_fewest_moves() -> None:
    mesh = crowded()
    assert spread(mesh) == [3, 3, 0]
    found = moves(mesh)
    assert sorted((each.source, each.target) for each in found) == [("n1", "n3"), ("n2", "n3")]
    assert found[0].why.startswith("evens out the service: 3 tasks on")
    assert all(mesh.running()[each.slot] == each.source for each in found)


def test_what_is_even_is_left_alone() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec(), 7)
    mesh.settle()
    assert moves(mesh) == []


def test_services_of_one_task_are_spread_over_the_nodes() -> None:
    mesh = crowded("a", "b", "c", "d", "e", "f", replicas=1)
    assert [each.why for each in moves(mesh)] == [
        "evens out the nodes: 3 tasks on n2, 0 on n3",
        "evens out the nodes: 3 tasks on n1, 1 on n3",
    ]


@pytest.mark.parametrize(
    "spec",
    [
        {"volume": "data"},
        {"mode": "global"},
        {"constraints": ("node.hostname!=n3",)},
        {"memory": 3 * GIB, "constraints": ("node.labels.zone!=c",), "platform": "linux/arm64"},
        {"restart": RestartPolicy(condition="on-failure")},
    ],
)
def test_what_may_not_move_stays(spec: dict[str, Any]) -> None:
    assert moves(crowded(**spec)) == []


def test_company_is_kept() -> None:
    mesh = crowded("web", "db")
    beside = service_spec("beside")
    task = msgspec.structs.replace(
        beside.task, placement=msgspec.structs.replace(beside.task.placement, affinity=("db",))
    )
    mesh.deploy(msgspec.structs.replace(beside, task=task), 2)
    mesh.settle(steps=50, seconds=1.0)
    assert {each.service for each in moves(mesh)} == {"web"}, "db is somebody's company, and there is none on n3"


def test_no_move_goes_where_there_is_no_room_or_where_enough_are() -> None:
    assert len(moves(crowded(memory=3 * GIB))) == 2
    mesh = crowded(max_per_node=3)
    assert len(moves(mesh)) == 2
    small = crowded(memory=2 * GIB)
    small.agents["n3"].facts = msgspec.structs.replace(small.agents["n3"].facts, memory=2 * GIB)
    small.observe()
    assert len(moves(small)) == 1
    small.change_node("n3", availability="pause")
    assert moves(small) == []


def test_branches_come_before_nodes() -> None:
    mesh = crowded(spread=("node.labels.zone",), replicas=8)
    assert spread(mesh) == [4, 4, 0]
    assert [(each.source, each.target) for each in moves(mesh)] == [("n2", "n3")] * 2, "zones are even: 4 and 4"


def test_a_service_that_is_not_whole_or_paused_is_left_alone() -> None:
    mesh = crowded()
    mesh.change_service("web", paused=True)
    assert moves(mesh) == []
    mesh.change_service("web", paused=False, replicas=7)
    assert moves(mesh) == [], "its rollout has not answered yet"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(counts=st.lists(st.integers(0, 6), min_size=1, max_size=4), most=st.integers(0, 4))
def test_no_more_moves_than_are_needed_and_the_end_is_even(counts: list[int], most: int) -> None:
    mesh = Mesh()
    for name in ("n1", "n2"):
        mesh.add_node(name)
    for number, replicas in enumerate(counts):
        mesh.deploy(service_spec(f"s{number}", max_per_node=most), replicas)
    mesh.settle(steps=300, seconds=1.0)
    mesh.add_node("n3")
    mesh.settle(steps=300, seconds=1.0)
    found = moves(mesh)
    assert len({each.task for each in found}) == len(found), "nothing moves twice"
    needed = -(-(sum(len(mesh.running(f"s{number}")) for number in range(len(counts)))) // 3)
    assert len(found) <= needed
