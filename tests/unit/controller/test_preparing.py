"""Images before anything is stopped, and never more down than `max_unavailable` says."""

from __future__ import annotations

import msgspec
import pytest

from controller.availability import bearable
from schemas.spec import PreStart, ServiceSpec, UpdatePolicy
from tests.unit.controller.rolling import Stage, standing, web


def pinned(*steps: PreStart) -> ServiceSpec:
    spec = web("web:1", update=UpdatePolicy(monitor=0.0))
    container = msgspec.structs.replace(spec.task.container, image_id="sha256:1")
    return msgspec.structs.replace(spec, task=msgspec.structs.replace(spec.task, container=container, pre_start=steps))


def prepared(replicas: int = 3) -> Stage:
    stage = standing(replicas)
    for agent in stage.mesh.agents.values():
        agent.prepared = {}
    stage.run(1)
    return stage


def lack(stage: Stage, why: str, *nodes: str) -> None:
    for node in nodes:
        stage.mesh.agents[node].lacks = {"web:2": why}


def test_all_images_are_fetched_before_the_first_task_is_stopped() -> None:
    stage = prepared()
    lack(stage, "", "n1", "n2", "n3")
    stage.deploy(web("web:2", update=UpdatePolicy(monitor=0.0)), 3)
    stage.run(30)
    assert stage.fewest == 3
    assert all(stored.record.prepare.keys() == {"web"} for stored in stage.mesh.assignments.values())
    assert stage.mesh.reasons() == {
        f"keeps its task of revision 1: image web:2 is on its way to node n{number}": 1 for number in (1, 2, 3)
    }
    for agent in stage.mesh.agents.values():
        agent.lacks = {}
    stage.until(lambda: stage.rollout.deploy == 2 and stage.rollout.phase == "done")
    assert stage.live() == ["web:2"] * 3
    stage.run(1)
    assert not any(stored.record.prepare for stored in stage.mesh.assignments.values())


def test_another_image_of_what_runs_before_a_task_is_fetched_before_the_task_is_stopped() -> None:
    stage = Stage()
    stage.deploy(pinned(), 3)
    stage.until(lambda: "web" in stage.mesh.rollouts and stage.rollout.phase == "done")
    for agent in stage.mesh.agents.values():
        agent.prepared, agent.lacks = {}, {"web:1": ""}
    stage.run(1)
    stage.fewest = 3
    stage.deploy(pinned(PreStart(command=("go",))), 3)
    stage.until(lambda: stage.rollout.deploy == 2 and stage.rollout.phase == "done")
    stage.fewest = 3
    stage.deploy(pinned(PreStart(command=("go",), image="job:1", image_id="sha256:9")), 3)
    stage.run(30)
    assert stage.fewest == 3
    why = "keeps its task of revision 2: image web:1 (with job:1 for pre_start) is on its way to node n1"
    assert stage.mesh.reasons()[why] == 1
    for agent in stage.mesh.agents.values():
        agent.lacks = {}
    stage.until(lambda: stage.rollout.deploy == 3 and stage.rollout.phase == "done")


def test_an_image_that_can_not_be_had_takes_nothing_down_and_meets_the_deadline() -> None:
    stage = prepared()
    lack(stage, "not found", "n1", "n2", "n3")
    stage.deploy(web("web:2", update=UpdatePolicy(failure_action="rollback"), deadline=20.0), 3)
    took = stage.until(lambda: stage.rollout.update.state == "rollback_completed")
    assert 20 <= took < 25
    assert stage.fewest == 3
    assert "keeps its task of revision 1: image web:2 can't be had on node n1: not found" in stage.rollout.why
    stage.run(1)
    assert not any(stored.record.prepare for stored in stage.mesh.assignments.values())


def test_a_node_without_the_image_does_not_hold_the_others_up() -> None:
    stage = prepared()
    lack(stage, "disk full", "n1")
    stage.deploy(web("web:2", update=UpdatePolicy(monitor=0.0)), 3)
    stage.run(20)
    assert sorted(stage.live()) == ["web:1", "web:2", "web:2"]


def test_the_next_task_goes_where_its_image_is() -> None:
    stage = prepared(2)
    stage.deploy(web("web:2", update=UpdatePolicy(monitor=0.0)), 2)
    stage.until(lambda: stage.rollout.deploy == 2 and stage.rollout.phase == "done")
    told = [task for stored in stage.mesh.assignments.values() for task in stored.record.tasks]
    assert [task.why for task in told] == ["its image is there"] * 2


def test_an_empty_node_gets_its_share_in_an_update() -> None:
    stage = prepared(6)
    stage.mesh.add_node("n4").prepared = {}
    stage.deploy(web("web:2", update=UpdatePolicy(monitor=0.0)), 6)
    stage.until(lambda: stage.rollout.deploy == 2 and stage.rollout.phase == "done")
    assert sorted(len(agent.live) for agent in stage.mesh.agents.values()) == [1, 1, 2, 2]


@pytest.mark.parametrize(
    ("text", "slots", "least", "said"),
    [("0", 9, 0, 0), ("2", 9, 0, 2), ("25%", 9, 0, 2), ("10%", 9, 0, 0), ("10%", 9, 1, 1), ("100%", 3, 0, 3)],
)
def test_a_share_is_rounded_down(text: str, slots: int, least: int, said: int) -> None:
    assert bearable(text, slots, least=least) == said


def test_no_more_are_taken_down_than_max_unavailable_says() -> None:
    stage = standing(6)
    stage.deploy(web("web:2", update=UpdatePolicy(parallelism=4, monitor=0.0, max_unavailable="2")), 6)
    stage.until(lambda: stage.rollout.deploy == 2 and stage.rollout.phase == "done")
    assert stage.fewest == 4


def test_slots_that_are_down_for_other_reasons_count() -> None:
    stage = standing(6)
    stage.mesh.kill("n1")
    stage.mesh.change_node("n2", availability="pause")
    stage.mesh.change_node("n3", availability="pause")
    stage.run(8)
    assert len(stage.up()) == 4
    stage.deploy(web("web:2", update=UpdatePolicy(parallelism=0, max_unavailable="2")), 6)
    stage.run(10)
    assert stage.up() == ["web:1"] * 4
