"""Evening out: the fewest moves, what stays where it is, how moves go on, and what is up all the while."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.decide import survey
from controller.rebalance import even_out
from controller.world import Stored
from schemas.rebalance import Move, RebalanceRecord
from schemas.records import OrderRecord
from schemas.spec import Dependency, RestartPolicy, UpdatePolicy
from tests.unit.controller.model import GIB, Mesh, service_spec, three_nodes
from tests.unit.controller.rolling import Stage, web

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


def stage_of(policy: UpdatePolicy, replicas: int = 6) -> Stage:
    mesh = Mesh()
    for name in ("n1", "n2"):
        mesh.add_node(name)
    mesh.round()
    stage = Stage(mesh=mesh)
    stage.deploy(web("web:1", update=policy), replicas)
    stage.until(lambda: "web" in mesh.rollouts and stage.rollout.phase == "done")
    mesh.add_node("n3")
    stage.run(2)
    stage.fewest, stage.most = 1000, 0
    return stage


def finished(mesh: Mesh) -> bool:
    return mesh.rebalance is not None and not mesh.rebalance.active


@pytest.mark.parametrize(("policy", "fewest", "most"), [(START_FIRST, 6, 8), (STOP_FIRST, 5, 6)])
def test_a_rebalance_goes_by_the_services_own_policy(policy: UpdatePolicy, fewest: int, most: int) -> None:
    stage = stage_of(policy)
    order(stage.mesh, moves(stage.mesh))
    stage.until(lambda: finished(stage.mesh))
    stage.run(5)
    assert spread(stage.mesh) == [2, 2, 2]
    assert states(stage.mesh) == ["done", "done"]
    assert (stage.fewest, stage.most) == (fewest, most)
    assert stage.rollout.phase == "done"


def test_nothing_is_ended_whose_next_task_would_wait_for_a_dependency() -> None:
    stage = stage_of(STOP_FIRST)
    stage.mesh.deploy(service_spec("db", constraints=("node.id==n1",)), 1)
    needs = (Dependency(service="db", condition="service_healthy"),)
    stage.deploy(msgspec.structs.replace(web("web:1", update=STOP_FIRST), depends_on=needs), 6)
    stage.until(lambda: stage.rollout.phase == "done" and bool(stage.mesh.running("db")))
    stage.run(2)
    found = [each for each in moves(stage.mesh) if each.service == "web"]
    assert found
    show(stage.mesh, "db", "starting")
    order(stage.mesh, found)
    stage.fewest = 1000
    stage.run(20)
    assert stage.fewest == 6
    show(stage.mesh, "db", "healthy")
    stage.until(lambda: finished(stage.mesh))
    assert states(stage.mesh) == ["done"] * len(found)


def test_the_order_stands_until_all_is_done_and_is_answered_then() -> None:
    stage = stage_of(START_FIRST)
    order(stage.mesh, moves(stage.mesh))
    first = stage.mesh.round()
    assert first.open_orders == {"even"}
    stage.until(lambda: finished(stage.mesh))
    assert stage.mesh.round().open_orders == frozenset()


def test_an_order_that_is_taken_back_begins_nothing_more() -> None:
    stage = stage_of(STOP_FIRST, 12)
    found = moves(stage.mesh)
    assert len(found) == 4
    order(stage.mesh, found)
    stage.until(lambda: "done" in states(stage.mesh) if stage.mesh.rebalance else False)
    stage.mesh.orders.clear()
    stage.until(lambda: finished(stage.mesh))
    stage.run(5)
    assert 1 <= states(stage.mesh).count("done") <= 2
    assert all(each.why == "stopped by an operator" for each in _record(stage).moves if each.state == "skipped")
    assert sum(spread(stage.mesh)) == 12


def test_a_replacement_that_fails_ends_its_move_and_nothing_is_lost() -> None:
    stage = stage_of(START_FIRST)
    stayed = set(stage.mesh.running().items())
    order(stage.mesh, moves(stage.mesh))
    for _ in range(100):
        stage.step()
        for id_, task in stage.mesh.agents["n3"].tasks.items():
            if not task.ended:
                stage.mesh.agents["n3"].tasks[id_] = msgspec.structs.replace(task, state="failed", exit_code=1, ran=0.1)
    assert states(stage.mesh) == ["skipped", "skipped"]
    assert {each.why for each in _record(stage).moves} == {"its replacement failed"}
    stage.run(5)
    assert set(stage.mesh.running().items()) == stayed
    assert stage.fewest == 6


def test_after_a_roll_back_the_words_of_the_revision_that_was_left_count() -> None:
    """Its rollback_config says how many may be down; as of every step until the next deploy."""
    stage = stage_of(UpdatePolicy(order="stop-first", parallelism=3, monitor=1.0), 12)
    left = web("web:2", update=UpdatePolicy(order="stop-first", parallelism=1, monitor=1.0))
    stage.deploy(left, 12)
    stage.until(lambda: stage.rollout.revision == 2 and stage.rollout.phase == "done")
    stage.mesh.change_service("web", target=1, deploy=3, back_from=2)
    stage.until(lambda: stage.rollout.revision == 1 and stage.rollout.phase == "done")
    stage.mesh.add_node("n4")
    stage.run(2)
    found = moves(stage.mesh)
    assert len(found) == 3
    order(stage.mesh, found)
    stage.fewest = 1000
    stage.until(lambda: finished(stage.mesh))
    assert stage.fewest == 11


def test_a_task_that_is_no_more_is_not_moved() -> None:
    stage = stage_of(START_FIRST)
    found = moves(stage.mesh)
    stage.mesh.deploy(web("web:2", update=START_FIRST), 6)
    stage.until(lambda: stage.rollout.deploy == 2 and stage.rollout.phase == "done")
    order(stage.mesh, found)
    stage.until(lambda: finished(stage.mesh))
    assert {each.why for each in _record(stage).moves} == {"its task is no more"}


def _record(stage: Stage) -> RebalanceRecord:
    assert stage.mesh.rebalance is not None
    return stage.mesh.rebalance


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    replicas=st.integers(1, 12),
    policy=st.builds(
        UpdatePolicy,
        order=st.sampled_from(["start-first", "stop-first"]),
        parallelism=st.integers(1, 3),
        monitor=st.sampled_from([0.0, 1.0]),
    ),
    cuts=st.lists(st.integers(0, 3), max_size=6),
)
def test_never_less_is_up_than_the_policy_promises_wherever_leaders_end(
    replicas: int, policy: UpdatePolicy, cuts: list[int]
) -> None:
    stage = stage_of(policy, replicas)
    found = moves(stage.mesh)
    order(stage.mesh, found)
    ahead = list(cuts)
    for _ in range(400):
        stage.step(cut=ahead.pop(0) if ahead else None)
        if finished(stage.mesh):
            break
    assert finished(stage.mesh)
    stage.run(3)
    lost = policy.parallelism if policy.order == "stop-first" else 0
    assert stage.fewest >= max(0, replicas - lost)
    assert stage.most <= replicas + policy.parallelism
    counts = spread(stage.mesh)
    assert max(counts) - min(counts) <= 1
    assert set(states(stage.mesh)) <= {"done"}
    assert moves(stage.mesh) == [], "and then it is even"


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
