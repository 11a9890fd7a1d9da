"""How long a rebalance waits for a move, and what it counts by then: slow ends, waves, policies that change."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controller.patience import PATIENCE
from schemas.spec import UpdatePolicy
from tests.unit.controller.rolling import Stage, web
from tests.unit.controller.test_rebalance import STOP_FIRST, moves, order, spread, states
from tests.unit.controller.test_rebalance_moves import finished, record_of, stage_of


def slow(stage: Stage, *, slow: bool = True) -> None:
    """New tasks stay `starting`, old ones `stopping`."""
    for agent in stage.mesh.agents.values():
        agent.slow = slow


def ending_on(stage: Stage) -> list[str]:
    """The nodes with tasks that are to end."""
    tasks = ((node, task) for node, stored in stage.mesh.assignments.items() for task in stored.record.tasks)
    return [node for node, task in tasks if task.desired == "shutdown"]


def test_a_move_whose_node_dies_while_its_task_is_stopped_is_done_elsewhere() -> None:
    """Its task never ends as far as anybody sees; each round's wake still lies ahead (`Stage.step`)."""
    stage = stage_of(STOP_FIRST)
    order(stage.mesh, moves(stage.mesh))
    slow(stage)
    stage.until(lambda: bool(ending_on(stage)))
    stage.mesh.kill(*ending_on(stage))
    slow(stage, slow=False)
    stage.run(PATIENCE + 30)
    assert not record_of(stage).active
    assert states(stage.mesh) == ["done", "done"]
    assert len(stage.mesh.running()) == 6


def test_a_task_that_takes_longer_to_end_than_its_grace_is_not_waited_for_for_ever() -> None:
    stage = stage_of(STOP_FIRST)
    order(stage.mesh, moves(stage.mesh))
    slow(stage)
    stage.until(lambda: bool(ending_on(stage)))
    took = stage.until(lambda: states(stage.mesh)[0] == "skipped", seconds=2 * PATIENCE)
    assert took == pytest.approx(PATIENCE + 10.0, abs=1.0), "it had 10 s to end"
    assert record_of(stage).moves[0].why == "its task has not ended"
    stage.run(PATIENCE + 10)
    assert not record_of(stage).active


def test_a_task_has_its_grace_to_end_and_the_next_one_its_own_time_to_come_up() -> None:
    stage = stage_of(STOP_FIRST, stop_grace=600.0)
    order(stage.mesh, moves(stage.mesh))
    slow(stage)
    stage.until(lambda: bool(ending_on(stage)))
    stage.run(PATIENCE + 100)
    for name, agent in stage.mesh.agents.items():
        agent.slow = name == "n3"  # the old one ends, and the next one starts slowly
    stage.run(PATIENCE - 50)
    assert states(stage.mesh) == ["moving", "waiting"]
    slow(stage, slow=False)
    stage.until(lambda: finished(stage.mesh))
    assert states(stage.mesh) == ["done", "done"]
    assert spread(stage.mesh) == [2, 2, 2]


def test_a_task_that_stays_is_given_no_grace() -> None:
    stage = stage_of(STOP_FIRST, stop_grace=3600.0)
    order(stage.mesh, moves(stage.mesh))
    stage.mesh.change_node("n3", availability="pause")
    stage.run(2 * PATIENCE + 10)
    assert states(stage.mesh) == ["skipped", "skipped"]
    assert record_of(stage).moves[0].why.startswith("it found no place or did not come up within 300 s")


def wave_of_before(kind: Any) -> Stage:
    """Three moves of a service have begun at once; since then its policy says one at a time. Now there is room."""
    stage = stage_of(UpdatePolicy(order=kind, parallelism=3, monitor=1.0), 12)
    order(stage.mesh, moves(stage.mesh))
    stage.mesh.change_node("n3", availability="pause")
    stage.run(5)
    stage.deploy(web("web:1", update=UpdatePolicy(order=kind, parallelism=1, monitor=1.0)), 12)
    stage.run(5)
    assert states(stage.mesh).count("moving") == 3
    stage.mesh.change_node("n3", availability="active")
    return stage


def test_of_a_wave_that_goes_one_by_one_each_has_its_time() -> None:
    """Each takes 160 s to come up."""
    stage = wave_of_before("start-first")
    for _ in range(4):
        slow(stage)
        stage.run(160)
        slow(stage, slow=False)
        stage.run(0.4)
    stage.until(lambda: finished(stage.mesh))
    assert states(stage.mesh) == ["done"] * 4


def test_of_a_wave_that_goes_one_by_one_none_is_given_up_before_its_turn() -> None:
    """The first one's replacement never comes up: the others are tried after it."""
    stage = wave_of_before("start-first")
    slow(stage)
    stage.run(PATIENCE + 20)
    assert sorted(states(stage.mesh)) == ["moving", "moving", "skipped", "waiting"]
    slow(stage, slow=False)
    stage.until(lambda: finished(stage.mesh))
    assert sorted(states(stage.mesh)) == ["done", "done", "done", "skipped"]
    assert stage.most == 13


def test_a_task_that_takes_long_to_end_still_counts_beside_the_next_ones() -> None:
    stage = wave_of_before("start-first")
    for name, agent in stage.mesh.agents.items():
        agent.slow = name != "n3"
    stage.run(20)
    assert stage.most == 13
    slow(stage, slow=False)
    stage.until(lambda: finished(stage.mesh))
    assert (stage.most, states(stage.mesh)) == (13, ["done"] * 4)


def test_moves_wait_for_as_long_as_others_get_on() -> None:
    """Ten waves, each watched for a minute: far longer than a move that does not get on is given."""
    stage = stage_of(UpdatePolicy(order="stop-first", parallelism=1, monitor=60.0), 30)
    order(stage.mesh, moves(stage.mesh))
    stage.until(lambda: finished(stage.mesh), seconds=1500)
    assert states(stage.mesh) == ["done"] * 10
    assert spread(stage.mesh) == [10, 10, 10]


def test_moves_of_a_service_that_does_not_go_on_are_given_up() -> None:
    stage = stage_of(STOP_FIRST)
    found = moves(stage.mesh)
    stage.mesh.change_service("web", paused=True)
    stage.run(1)
    order(stage.mesh, found)
    stage.run(PATIENCE - 5)
    assert record_of(stage).active
    stage.run(10)
    assert {each.why for each in record_of(stage).moves} == {"the service is paused"}


@pytest.mark.parametrize(("kind", "fewest", "most"), [("stop-first", 11, 12), ("start-first", 12, 13)])
def test_a_wave_is_carried_out_as_the_policy_of_now_allows(kind: Any, fewest: int, most: int) -> None:
    """Three at a time was the word when they began."""
    stage = wave_of_before(kind)
    stage.until(lambda: finished(stage.mesh))
    stage.run(5)
    assert states(stage.mesh) == ["done"] * 4
    assert (stage.fewest, stage.most) == (fewest, most)


def test_a_slot_that_is_down_by_now_counts_for_a_wave_that_has_begun() -> None:
    stage = stage_of(STOP_FIRST, 12)
    order(stage.mesh, moves(stage.mesh))
    stage.mesh.change_node("n3", availability="pause")
    stage.run(5)
    moved = {each.move.task for each in record_of(stage).moves}
    (other, task) = next(
        (agent, id_) for agent in stage.mesh.agents.values() for id_ in agent.tasks if id_ not in moved
    )
    other.tasks[task] = msgspec.structs.replace(other.tasks[task], health="starting")
    stage.run(1)
    stage.mesh.change_node("n3", availability="active")
    stage.run(20)
    assert stage.fewest == 11
    other.tasks[task] = msgspec.structs.replace(other.tasks[task], health="")
    stage.until(lambda: finished(stage.mesh))
    assert (states(stage.mesh), stage.fewest) == (["done"] * 4, 11)
