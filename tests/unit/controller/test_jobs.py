"""Updates, roll-backs and canaries of jobs: a slot that did its work at the wanted revision needs no task of it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.spec import RestartPolicy, ServiceSpec, UpdatePolicy
from tests.unit.controller.rolling import Stage, standing, web

ORDERS = ["stop-first", "start-first"]
JOB = RestartPolicy(condition="on-failure")


def job(image: str, order: str, *, cpus: float = 0.0, **changes: Any) -> ServiceSpec:
    update = UpdatePolicy(monitor=1.0, order=order, **changes)  # type: ignore[arg-type]
    return web(image, restart=JOB, cpus=cpus, update=update, deadline=30.0)


def finish(stage: Stage, revision: int) -> None:
    """Every task of the revision that runs has done its work."""
    for agent in stage.mesh.agents.values():
        for task in agent.live:
            if task.revision == revision:
                agent.tasks[task.id] = msgspec.structs.replace(task, state="exited", exit_code=0, ran=1.0)


def done(stage: Stage) -> bool:
    record = stage.mesh.services["web"].record
    return stage.rollout.deploy == record.deploy and stage.rollout.phase == "done"


def finished_and_changed(order: str, *, replicas: int = 3, cpus: float = 0.0, **changes: Any) -> Stage:
    """web:1 has done its work in every slot, and web:2 runs in each."""
    stage = standing(replicas, restart=JOB, cpus=cpus)
    finish(stage, 1)
    stage.until(lambda: stage.rollout.complete == replicas)
    stage.deploy(job("web:2", order, **changes), replicas)
    stage.until(lambda: done(stage))
    assert stage.live() == ["web:2"] * replicas
    return stage


@pytest.mark.parametrize(("order", "borne"), [("stop-first", ""), ("start-first", ""), ("start-first", "0")])
def test_back_at_a_finished_revision_the_tasks_of_the_one_left_end_by_turns(order: str, borne: str) -> None:
    stage = finished_and_changed(order)
    for agent in stage.mesh.agents.values():
        agent.slow = True
    stage.deploy(job("web:1", order, max_unavailable=borne), 3)
    stage.run(2)
    assert stage.up() == ["web:2"] * 2, "parallelism is 1"
    for agent in stage.mesh.agents.values():
        agent.slow = False
    stage.until(lambda: done(stage))
    assert (stage.live(), stage.rollout.complete, stage.seen[-1]) == ([], 3, "completed")


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("cut", [0, 1, 2])
@pytest.mark.parametrize("at", [1, 2, 3, 4, 5])
def test_a_leader_cut_off_on_the_way_back_changes_nothing(order: str, cut: int, at: int) -> None:
    stage = finished_and_changed(order)
    stage.deploy(job("web:1", order), 3)
    for number in range(10):
        before = len(stage.up())
        stage.step(cut=cut if number == at else None)
        assert len(stage.up()) >= before - 1
    stage.until(lambda: done(stage))
    assert (stage.live(), stage.rollout.complete) == ([], 3)


@pytest.mark.parametrize("order", ORDERS)
def test_a_failed_update_rolls_back_to_a_finished_revision_and_ends_its_own_tasks(order: str) -> None:
    stage = standing(3, restart=JOB)
    finish(stage, 1)
    stage.until(lambda: stage.rollout.complete == 3)
    stage.deploy(job("web:2", order, failure_action="rollback"), 3)
    stage.until(lambda: len(stage.up()) == 3)
    stage.mesh.fail("n1")
    stage.until(lambda: stage.rollout.update.state == "rollback_completed")
    assert (stage.live(), stage.rollout.complete) == ([], 3)


@pytest.mark.parametrize("order", ORDERS)
def test_nothing_needs_room_or_an_image_where_the_work_is_done(order: str) -> None:
    stage = finished_and_changed(order, cpus=5.0)
    for agent in stage.mesh.agents.values():
        agent.prepared, agent.lacks = {}, {"web:1": "no such image"}
    stage.mesh.deploy(web("other:1", cpus=5.0, name="other"), 3)
    stage.run(2)
    assert len(stage.mesh.running("other")) == 3
    stage.deploy(job("web:1", order, cpus=5.0), 3)
    stage.until(lambda: done(stage))
    assert (stage.live(), stage.rollout.complete) == ([], 3)
    assert not any(stored.record.prepare for stored in stage.mesh.assignments.values())


def test_a_new_task_that_was_done_before_it_was_seen_up_ends_the_old_one() -> None:
    stage = standing(3, restart=JOB)
    for agent in stage.mesh.agents.values():
        agent.slow = True
    stage.deploy(job("web:2", "start-first"), 3)
    stage.run(1)
    for agent in stage.mesh.agents.values():
        agent.slow = False
    for _ in range(30):
        finish(stage, 2)
        stage.step()
    stage.until(lambda: done(stage))
    assert (stage.live(), stage.rollout.complete) == ([], 3)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("after", [0.6, 10.0])
def test_a_canary_that_has_done_its_work_is_as_large_as_it_was(order: str, after: float) -> None:
    stage = standing(6, restart=JOB)
    stage.deploy(job("web:2", order), 6, 2)
    stage.run(after)
    for _ in range(100):
        finish(stage, 2)
        stage.step()
    assert stage.rollout.update.stands
    assert stage.rollout.why == "canary: 2 of 6 slots have revision 2: promote or abort it"
    assert stage.live() == ["web:1"] * (6 if order == "start-first" else 4)
    stage.run(60)
    assert stage.rollout.update.stands
    stage.mesh.change_service("web", canary=0)
    stage.until(lambda: done(stage))
    assert Counter(stage.live()) == {"web:2": 4}
    assert (stage.rollout.complete, stage.rollout.good) == (2, 2)


@pytest.mark.parametrize("order", ORDERS)
def test_a_canary_that_has_done_its_work_is_aborted(order: str) -> None:
    stage = standing(4, restart=JOB)
    stage.deploy(job("web:2", order), 4, 2)
    stage.until(lambda: stage.rollout.update.stands)
    finish(stage, 2)
    stage.run(2)
    abort(stage)
    stage.until(lambda: done(stage))
    assert stage.live() == ["web:1"] * 4


def abort(stage: Stage) -> None:
    record = stage.mesh.services["web"].record
    stage.mesh.change_service("web", canary=0, target=1, deploy=record.deploy + 1, back_from=record.target)


@pytest.mark.parametrize("end", ["promote", "abort"])
def test_blue_is_done_beside_green_that_runs_and_nothing_is_left_to_promote(end: str) -> None:
    stage = standing(3, restart=JOB)
    stage.deploy(job("web:2", "start-first", parallelism=3), 3, 3)
    stage.until(lambda: stage.rollout.update.stands)
    finish(stage, 1)
    stage.run(2)
    assert stage.live() == ["web:2"] * 3
    assert (done(stage), stage.rollout.good) == (True, 2)
    if end == "promote":
        stage.mesh.change_service("web", canary=0)
        stage.run(2)
        assert (stage.live(), done(stage)) == (["web:2"] * 3, True)
    else:
        abort(stage)
        stage.until(lambda: done(stage))
        assert (stage.live(), stage.rollout.complete) == ([], 3)


@pytest.mark.parametrize("end", ["promote", "abort"])
def test_green_is_done_beside_blue_that_runs_and_either_may_go(end: str) -> None:
    stage = standing(3, restart=JOB)
    stage.deploy(job("web:2", "start-first", parallelism=3), 3, 3)
    stage.until(lambda: stage.rollout.update.stands)
    finish(stage, 2)
    stage.run(60)
    assert (stage.live(), stage.rollout.update.stands) == (["web:1"] * 3, True)
    if end == "promote":
        stage.mesh.change_service("web", canary=0)
        stage.until(lambda: done(stage))
        assert (stage.live(), stage.rollout.complete) == ([], 3)
    else:
        abort(stage)
        stage.until(lambda: done(stage))
        assert stage.live() == ["web:1"] * 3


@pytest.mark.parametrize("order", ORDERS)
def test_a_canary_stands_though_the_others_have_done_their_work_at_the_old_revision(order: str) -> None:
    stage = standing(4, restart=JOB)
    stage.deploy(job("web:2", order), 4, 1)
    stage.until(lambda: stage.rollout.update.stands)
    finish(stage, 1)
    stage.run(60)
    assert (stage.live(), stage.rollout.update.stands) == (["web:2"], True)
    stage.mesh.change_service("web", canary=0)
    stage.until(lambda: done(stage))
    assert stage.live() == ["web:2"] * 4


@pytest.mark.parametrize("order", ORDERS)
def test_the_canary_of_a_job_that_is_done_is_no_larger_than_any_other(order: str) -> None:
    stage = standing(4, restart=JOB)
    finish(stage, 1)
    stage.until(lambda: stage.rollout.complete == 4)
    stage.deploy(job("web:2", order), 4, 1)
    stage.run(60)
    assert (stage.live(), stage.rollout.update.stands) == (["web:2"], True)
    finish(stage, 2)
    stage.run(60)
    assert (stage.live(), stage.rollout.update.stands) == ([], True)
    stage.mesh.change_service("web", canary=0)
    stage.until(lambda: done(stage))
    assert stage.live() == ["web:2"] * 3


@pytest.mark.parametrize("order", ORDERS)
def test_a_canary_of_work_that_was_done_before_ends_nothing_till_it_is_promoted(order: str) -> None:
    stage = finished_and_changed(order)
    stage.deploy(job("web:1", order), 3, 1)
    stage.run(60)
    assert (stage.live(), stage.rollout.update.stands) == (["web:2"] * 3, True)
    stage.mesh.change_service("web", canary=0)
    stage.until(lambda: done(stage))
    assert (stage.live(), stage.rollout.complete) == ([], 3)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    order=st.sampled_from(ORDERS),
    count=st.integers(1, 5),
    parallelism=st.integers(0, 3),
    cuts=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 3)), max_size=4),
    ends=st.lists(st.tuples(st.integers(0, 80), st.sampled_from(["n1", "n2", "n3"])), max_size=12),
    promoted=st.booleans(),
)
def test_whatever_is_done_meanwhile_a_canary_keeps_its_size_and_comes_to_an_end(
    order: str,
    count: int,
    parallelism: int,
    cuts: list[tuple[int, int]],
    ends: list[tuple[int, str]],
    promoted: bool,
) -> None:
    stage = standing(5, restart=JOB)
    stage.deploy(job("web:2", order, parallelism=parallelism), 5, count)
    new = stage.mesh.revisions["web", 2].spec.task.hash
    for number in range(100):
        for at, node in ends:
            if at == number and stage.mesh.agents[node].live:
                stage.mesh.fail(node, state="exited")
        stage.step(cut=dict(cuts).get(number))
        there = {slot for slot, image in stage.tasks() if image == "web:2"}
        there |= {slot for slot, history in stage.rollout.slots.items() if history.complete == new}
        assert len(there) <= count
    stage.run(40)
    assert stage.rollout.update.stands or done(stage), stage.rollout
    if promoted:
        stage.mesh.change_service("web", canary=0)
    elif not done(stage):
        abort(stage)
    stage.until(lambda: done(stage))
    assert len(set(stage.live())) <= 1
    assert len(stage.live()) + stage.rollout.complete == 5
