"""Updates and roll-backs of jobs: a slot that did its work at the wanted revision needs no task of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

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
