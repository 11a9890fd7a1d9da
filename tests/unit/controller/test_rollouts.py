"""Updates by turns, as update_config says: told as stories on the model."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from schemas.spec import RestartPolicy, UpdatePolicy
from tests.unit.controller.rolling import Stage, standing, web


def policy(**changes: Any) -> UpdatePolicy:
    return UpdatePolicy(**{"monitor": 1.0, **changes})


@pytest.mark.parametrize(("parallelism", "fewest"), [(1, 5), (2, 4), (4, 2), (0, 0)])
def test_stop_first_takes_down_as_many_as_parallelism_allows(parallelism: int, fewest: int) -> None:
    stage = standing()
    stage.deploy(web("web:2", update=policy(parallelism=parallelism)), 6)
    stage.until(lambda: stage.rollout.deploy == 2 and stage.rollout.phase == "done")
    assert (stage.fewest, stage.most) == (fewest, 6)
    assert stage.live() == ["web:2"] * 6
    assert stage.rollout.good == 2


@pytest.mark.parametrize(("parallelism", "most"), [(1, 7), (3, 9), (0, 12)])
def test_start_first_never_has_less_than_before_nor_more_than_its_surge(parallelism: int, most: int) -> None:
    stage = standing()
    stage.deploy(web("web:2", update=policy(parallelism=parallelism, order="start-first")), 6)
    stage.until(lambda: stage.rollout.deploy == 2 and stage.rollout.phase == "done")
    assert (stage.fewest, stage.most) == (6, most)
    assert stage.live() == ["web:2"] * 6


def test_the_delay_passes_between_turns() -> None:
    stage = standing(3)
    stage.deploy(web("web:2", update=policy(delay=10.0)), 3)
    took = stage.until(lambda: stage.rollout.deploy == 2 and stage.rollout.phase == "done")
    assert 30 <= took < 36


def test_an_update_is_done_only_when_its_last_task_was_watched() -> None:
    stage = standing(1)
    stage.deploy(web("web:2", update=policy(monitor=20.0)), 1)
    took = stage.until(lambda: stage.rollout.deploy == 2 and stage.rollout.phase == "done")
    assert 20 <= took < 24


@pytest.mark.parametrize("order", ["stop-first", "start-first"])
def test_a_failure_pauses_by_default_and_nothing_more_is_taken_down(order: str) -> None:
    stage = standing(6)
    stage.deploy(web("web:bad", update=policy(order=order)), 6)
    stage.run(60)
    assert (stage.rollout.phase, stage.rollout.update.state) == ("failed", "paused")
    assert stage.rollout.why == "paused: 1 of 6 replaced tasks failed: slot 1 on n1: exit code 1"
    assert stage.up() == ["web:1"] * (5 if order == "stop-first" else 6)
    assert stage.rollout.update.culprit is not None
    assert stage.rollout.update.culprit.log_tail == ("boom",)


@pytest.mark.parametrize("order", ["stop-first", "start-first"])
def test_a_failure_rolls_back_and_is_never_called_a_success(order: str) -> None:
    stage = standing(6)
    stage.deploy(web("web:bad", update=policy(order=order, failure_action="rollback")), 6)
    stage.until(lambda: stage.rollout.update.state == "rollback_completed")
    stage.run(20)
    assert "completed" not in stage.seen
    assert (stage.rollout.phase, stage.rollout.revision) == ("failed", 1)
    assert stage.rollout.why == (
        "rolled back from revision 2 to revision 1: 1 of 6 replaced tasks failed: slot 1 on n1: exit code 1"
    )
    assert stage.live() == ["web:1"] * 6
    assert stage.fewest == (5 if order == "stop-first" else 6)


def test_after_a_roll_back_a_scale_does_not_bring_the_bad_revision_back() -> None:
    stage = standing(3)
    stage.deploy(web("web:bad", update=policy(failure_action="rollback")), 3)
    stage.until(lambda: stage.rollout.update.state == "rollback_completed")
    stage.mesh.change_service("web", replicas=5)
    stage.run(10)
    assert stage.live() == ["web:1"] * 5
    assert stage.rollout.phase == "failed"


def test_a_new_deploy_after_a_roll_back_goes_forward() -> None:
    stage = standing(3)
    stage.deploy(web("web:bad", update=policy(failure_action="rollback")), 3)
    stage.until(lambda: stage.rollout.update.state == "rollback_completed")
    stage.deploy(web("web:3", update=policy()), 3)
    stage.until(lambda: stage.rollout.phase == "done")
    assert stage.live() == ["web:3"] * 3
    assert stage.rollout.good == 3


def test_a_failure_is_borne_with_continue() -> None:
    stage = standing(4)
    stage.deploy(web("web:bad", update=policy(failure_action="continue")), 4)
    stage.run(120)
    assert stage.rollout.update.state == "updating"
    assert stage.rollout.update.failed == 4
    assert "web:1" not in stage.live()


def test_failures_within_the_ratio_are_borne() -> None:
    stage = standing(4)
    stage.bad = frozenset()
    stage.deploy(web("web:2", update=policy(max_failure_ratio=0.25)), 4)
    stage.until(lambda: "web:2" in stage.up())
    stage.bad = frozenset({"web:2"})
    stage.fail_bad()
    stage.bad = frozenset()
    stage.until(lambda: stage.rollout.phase == "done")
    assert stage.live() == ["web:2"] * 4


def test_a_roll_back_that_fails_itself_is_paused() -> None:
    stage = standing(3)
    stage.deploy(web("web:bad", update=policy(failure_action="rollback")), 3)
    stage.until(lambda: stage.rollout.update.state == "rollback_started")
    stage.bad = frozenset({"web:bad", "web:1"})
    stage.until(lambda: stage.rollout.update.state == "rollback_paused")
    assert stage.rollout.phase == "failed"
    assert "the roll-back has failed, too" in stage.rollout.why


def test_without_a_good_revision_there_is_nothing_to_roll_back_to() -> None:
    stage = Stage()
    stage.deploy(web("web:bad", update=policy(failure_action="rollback"), deadline=30.0), 2)
    stage.run(40)
    assert (stage.rollout.phase, stage.rollout.update.state) == ("failed", "paused")
    assert stage.rollout.why.startswith("paused: no progress for 30 s: waits before its next start; the last task fail")


@pytest.mark.parametrize(
    ("action", "state", "images"),
    [("pause", "paused", 3), ("continue", "updating", 3), ("rollback", "rollback_completed", 3)],
)
def test_what_finds_no_place_fails_at_the_deadline(action: str, state: str, images: int) -> None:
    stage = standing(3)
    stage.deploy(web("web:2", cpus=100.0, update=policy(failure_action=action), deadline=30.0), 3)
    stage.run(29)
    assert stage.rollout.phase == "converging"
    stage.run(10)
    assert stage.rollout.phase == "failed"
    assert stage.rollout.update.state == state
    assert "no progress for 30 s" in stage.rollout.why
    assert stage.live() == ["web:1"] * images


def test_tasks_that_never_come_up_fail_at_the_deadline() -> None:
    stage = standing(3)
    for agent in stage.mesh.agents.values():
        agent.slow = True
    stage.deploy(web("web:2", update=policy(failure_action="rollback", order="start-first"), deadline=30.0), 3)
    stage.run(40)
    assert stage.rollout.update.state in ("rollback_started", "rollback_completed")
    for agent in stage.mesh.agents.values():
        agent.slow = False
    stage.until(lambda: stage.rollout.update.state == "rollback_completed")
    assert stage.live() == ["web:1"] * 3
    assert stage.fewest == 3


def test_a_deploy_that_was_late_and_got_there_after_all_is_done() -> None:
    stage = Stage()
    stage.deploy(web("web:1", cpus=6.0, deadline=10.0), 4)
    stage.run(15)
    assert (stage.rollout.phase, stage.rollout.running) == ("failed", 3)
    stage.mesh.add_node("n4")
    stage.until(lambda: stage.rollout.phase == "done")
    assert stage.rollout.good == 1


def test_the_service_paused_by_its_operator_waits_without_a_deadline() -> None:
    stage = standing(3)
    stage.deploy(web("web:2", update=policy(delay=5.0), deadline=20.0), 3)
    stage.until(lambda: "web:2" in stage.up())
    stage.mesh.change_service("web", paused=True)
    stage.run(60)
    assert sorted(stage.live()) == ["web:1", "web:1", "web:2"]
    assert stage.rollout.phase == "converging"
    stage.mesh.change_service("web", paused=False)
    stage.until(lambda: stage.rollout.phase == "done")
    assert stage.live() == ["web:2"] * 3


@pytest.mark.parametrize("order", ["stop-first", "start-first"])
def test_a_new_deploy_supersedes_the_one_under_way(order: str) -> None:
    stage = standing(6)
    stage.deploy(web("web:2", update=policy(parallelism=2, order=order)), 6)
    stage.until(lambda: "web:2" in stage.up())
    stage.deploy(web("web:3", update=policy(parallelism=2, order=order)), 6)
    stage.until(lambda: stage.rollout.deploy == 3 and stage.rollout.phase == "done")
    assert stage.live() == ["web:3"] * 6
    assert stage.fewest >= (4 if order == "stop-first" else 6)
    assert stage.most <= (6 if order == "stop-first" else 8)


def test_a_slot_that_was_down_when_its_turn_began_waits_for_its_turn_once_its_old_task_is_back() -> None:
    stage = standing(3)
    mesh = stage.mesh
    mesh.cut("n2")
    stage.run(10)
    assert len(stage.up()) == 4, "the one on n2 is replaced, and runs on"
    for agent in mesh.agents.values():
        agent.slow = True
    stage.deploy(web("web:2", update=policy()), 1)
    stage.run(1)
    stage.deploy(web("web:3", update=policy()), 3)
    stage.run(1)
    assert len(stage.rollout.update.turns) == 3, "all of them are down, and have their turn at once"
    mesh.heal("n2")
    stage.run(4)
    assert mesh.liveness["n2"].verdict == "ready"
    assert stage.up() == ["web:1"], "two others are down, and parallelism is 1"
    assert len(stage.rollout.update.turns) == 2
    for agent in mesh.agents.values():
        agent.slow = False
    stage.until(lambda: stage.rollout.phase == "done")
    assert stage.live() == ["web:3"] * 3


@pytest.mark.parametrize("again", [1, 2])
def test_a_slot_whose_work_was_done_before_has_its_turn_until_its_old_task_has_ended(again: int) -> None:
    job = RestartPolicy(condition="on-failure")
    stage = standing(3, restart=job)
    for node in stage.mesh.agents:
        stage.mesh.fail(node, state="exited")
    stage.run(1)
    assert stage.rollout.complete == 3
    stage.deploy(web("web:2", restart=job, update=policy()), 3)
    stage.until(lambda: stage.rollout.deploy == 2 and stage.rollout.phase == "done")
    for agent in stage.mesh.agents.values():
        agent.slow = True
    for _ in range(again):  # by the second deploy one of them is ending already
        stage.deploy(web("web:1", restart=job, update=policy()), 3)
        stage.run(2)
    assert stage.up() == ["web:2"] * 2, "parallelism is 1"
    for agent in stage.mesh.agents.values():
        agent.slow = False
    stage.until(lambda: stage.rollout.phase == "done")
    assert (stage.live(), stage.rollout.complete) == ([], 3)


def test_a_deploy_superseding_a_bad_one_still_rolls_back_to_the_last_good() -> None:
    stage = standing(3)
    stage.deploy(web("web:bad", update=policy()), 3)
    stage.until(lambda: stage.rollout.update.state == "paused")
    stage.bad = frozenset({"web:bad", "web:worse"})
    stage.deploy(web("web:worse", update=policy(failure_action="rollback")), 3)
    stage.until(lambda: stage.rollout.update.state == "rollback_completed")
    assert stage.live() == ["web:1"] * 3


def test_while_an_update_is_paused_lost_tasks_come_back_as_they_were() -> None:
    stage = standing(6)
    stage.deploy(web("web:bad", update=policy()), 6)
    stage.until(lambda: stage.rollout.update.state == "paused")
    stage.mesh.kill("n3")
    stage.run(20)
    assert stage.up() == ["web:1"] * 5


def test_a_global_service_is_replaced_by_turns_too() -> None:
    stage = standing(mode="global")
    stage.deploy(web("web:2", mode="global", update=policy(order="start-first")), 1)
    stage.until(lambda: stage.rollout.deploy == 2 and stage.rollout.phase == "done")
    assert (stage.fewest, stage.most) == (3, 4)
    assert stage.live() == ["web:2"] * 3


def test_a_change_of_the_policy_alone_replaces_nothing() -> None:
    stage = standing(3)
    before = [task.id for agent in stage.mesh.agents.values() for task in agent.live]
    stage.deploy(web("web:1", update=policy(parallelism=3)), 3)
    stage.until(lambda: stage.rollout.deploy == 2 and stage.rollout.phase == "done")
    assert [task.id for agent in stage.mesh.agents.values() for task in agent.live] == before


@pytest.mark.parametrize("order", ["stop-first", "start-first"])
@pytest.mark.parametrize("image", ["web:2", "web:bad"])
def test_a_leader_cut_off_at_any_write_changes_neither_the_way_nor_the_end(order: str, image: str) -> None:
    update = policy(parallelism=2, order=order, failure_action="rollback")
    for at in range(40):
        for cut in range(3):
            stage = standing(4)
            stage.deploy(web(image, update=update), 4)
            for number in range(at):
                stage.step(cut=cut if number == at - 1 else None)
            good = "completed" if image == "web:2" else "rollback_completed"
            stage.until(lambda: stage.rollout.deploy == 2 and stage.rollout.update.state == good)  # noqa: B023
            assert stage.live() == [image if image == "web:2" else "web:1"] * 4
            assert stage.fewest >= (2 if order == "stop-first" else 4)
            assert stage.most <= (4 if order == "stop-first" else 6)
            if stage.rollout.update.state == good and at > 30:
                break


def test_a_new_task_that_is_not_ready_holds_the_rest_up_and_meets_the_deadline() -> None:
    stage = standing(3)
    stage.deploy(web("web:2", update=policy(order="start-first"), deadline=20.0), 3)
    for _ in range(150):
        stage.step()
        for agent in stage.mesh.agents.values():
            for id_, task in agent.tasks.items():
                if task.revision == 2:
                    agent.tasks[id_] = msgspec.structs.replace(task, not_ready="status 503")
    assert stage.rollout.update.state == "paused"
    assert stage.rollout.why.startswith("paused: no progress for 20 s")
    assert stage.up() == ["web:1"] * 3
