"""A rebalance is carried out: by waves, as the service's own policy says, wherever leaders end."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.rebalance import RebalanceRecord
from schemas.spec import Dependency, UpdatePolicy
from tests.unit.controller.model import Mesh, service_spec
from tests.unit.controller.rolling import Stage, web
from tests.unit.controller.test_rebalance import START_FIRST, STOP_FIRST, moves, order, show, spread, states


def stage_of(policy: UpdatePolicy, replicas: int = 6, *, stop_grace: float = 10.0) -> Stage:
    """A service on two nodes, and a third one."""
    mesh = Mesh()
    for name in ("n1", "n2"):
        mesh.add_node(name)
    mesh.round()
    stage = Stage(mesh=mesh)
    stage.deploy(web("web:1", update=policy, stop_grace=stop_grace), replicas)
    stage.until(lambda: "web" in mesh.rollouts and stage.rollout.phase == "done")
    mesh.add_node("n3")
    stage.run(2)
    stage.fewest, stage.most = 1000, 0
    return stage


def finished(mesh: Mesh) -> bool:
    return mesh.rebalance is not None and not mesh.rebalance.active


def record_of(stage: Stage) -> RebalanceRecord:
    assert stage.mesh.rebalance is not None
    return stage.mesh.rebalance


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
    assert all(each.why == "stopped by an operator" for each in record_of(stage).moves if each.state == "skipped")
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
    assert {each.why for each in record_of(stage).moves} == {"its replacement failed"}
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
    assert {each.why for each in record_of(stage).moves} == {"its task is no more"}


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
