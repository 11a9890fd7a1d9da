"""What must not run twice (`stop_after`), when a node comes back on which it was replaced meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from controller.rolling import begin
from tests.unit.controller.model import Mesh, three_nodes
from tests.unit.controller.test_plan_reconnect import filled_by, spec_of


def lost_before_it_ran() -> tuple[Mesh, str]:
    """What must not run twice is still to start on n3, which is cut off, and its replacement on n1; the latter's id."""
    spec = spec_of("keep-replacement")
    mesh = three_nodes()
    mesh.change_node("n2", availability="pause")
    mesh.agents["n1"].slow = mesh.agents["n3"].slow = True
    mesh.change_node("n1", availability="pause")
    mesh.deploy(replace(spec, task=replace(spec.task, stop_after=10.0)))
    mesh.step()
    mesh.change_node("n1", availability="active")
    mesh.cut("n3")
    mesh.run(40)
    assert mesh.assigned()["1"] == ["n1", "n3"]
    (replacement,) = [task for task in mesh.assignments["n1"].record.tasks if task.service == "web"]
    return mesh, replacement.id


def test_an_original_that_never_ran_starts_beside_no_replacement_if_it_must_not_run_twice() -> None:
    """With the verdict that its node is back it could have a lease again, and start while the replacement ends."""
    mesh, replacement = lost_before_it_ran()
    mesh.heal("n3")
    mesh.step()
    assert [task.desired for task in mesh.assignments["n3"].record.tasks] == ["shutdown"]
    mesh.agents["n1"].slow = mesh.agents["n3"].slow = False
    mesh.settle()
    assert mesh.assigned()["1"] == ["n1"]
    assert filled_by(mesh, "1") == [replacement]


def test_an_original_that_never_ran_waits_for_a_replacement_whose_node_was_just_lost() -> None:
    mesh, replacement = lost_before_it_ran()
    mesh.agents["n1"].slow = False
    mesh.settle()
    mesh.cut("n1")
    mesh.run(4)
    mesh.heal("n3")
    mesh.step()
    mesh.agents["n3"].slow = False
    mesh.settle()
    assert filled_by(mesh, "1") == [replacement], "its lease has not run out"
    mesh.agents["n1"].tasks = {}
    mesh.run(40)
    assert mesh.running()["1"] == "n3", "another one after its time"


def test_of_two_whose_nodes_come_back_at_once_the_replacement_stays_that_may_have_run_on() -> None:
    """Its node was silent for less than the lease lasts."""
    mesh, replacement = lost_before_it_ran()
    mesh.agents["n1"].tasks[replacement] = replace(
        mesh.agents["n1"].tasks[replacement], state="running", health="starting"
    )
    mesh.run(1)
    mesh.cut("n1")
    mesh.run(4)
    assert {mesh.liveness[node].verdict for node in ("n1", "n3")} == {"down"}
    mesh.heal("n1", "n3")
    mesh.step()
    assert [task.desired for task in mesh.assignments["n1"].record.tasks] == ["running"]
    assert [task.desired for task in mesh.assignments["n3"].record.tasks] == ["shutdown"]


def starts_slowly(mesh: Mesh, node: str) -> str:
    """The task there runs, and its health is not known yet."""
    (task,) = mesh.agents[node].live
    mesh.agents[node].tasks[task.id] = replace(task, state="running", health="starting")
    mesh.step()
    return task.id


@pytest.mark.parametrize("elsewhere", ["another leader", "its agent ends", "it is ending"])
def test_a_short_cut_ends_nothing_over_a_task_that_it_has_replaced_long_ago(elsewhere: str) -> None:
    """What is lost is held anew by another leader, or for ever once its agent was heard to end."""
    mesh, _ = lost_before_it_ran()
    replacement = starts_slowly(mesh, "n1")
    match elsewhere:
        case "another leader":
            mesh.took_over = mesh.now
        case "its agent ends":
            mesh.liveness["n3"] = replace(mesh.liveness["n3"], uncovered="its agent has ended")
        case _:
            mesh.heal("n3")
            mesh.step()
            assert [task.desired for task in mesh.assignments["n3"].record.tasks] == ["shutdown"]
    mesh.cut("n1")
    mesh.run(4)
    assert mesh.liveness["n1"].verdict == "down"
    mesh.heal("n1")
    mesh.step()
    assert [(task.id, task.desired) for task in mesh.assignments["n1"].record.tasks] == [(replacement, "running")]


def test_of_two_that_may_both_run_by_now_none_stays() -> None:
    """The original runs since its node came back; the replacement's agent has ended, and what it runs is not known."""
    mesh, _ = lost_before_it_ran()
    mesh.cut("n1")
    mesh.run(40)
    mesh.heal("n3")
    mesh.step()
    starts_slowly(mesh, "n3")
    mesh.cut("n3")
    mesh.run(4)
    mesh.liveness["n1"] = replace(mesh.liveness["n1"], uncovered="its agent has ended")
    mesh.heal("n1", "n3")
    mesh.step()
    assert [task.desired for node in ("n1", "n3") for task in mesh.assignments[node].record.tasks] == ["shutdown"] * 2


@pytest.mark.parametrize("cause", ["fault", "no revision"])
def test_an_original_that_never_ran_ends_though_its_service_can_not_be_decided_about(
    cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verdict that the node is back is stored all the same."""
    mesh, _ = lost_before_it_ran()
    revisions = dict(mesh.revisions)
    with monkeypatch.context() as patch:
        patch.setattr("controller.decide.begin", begin if cause != "fault" else broken)
        if cause != "fault":
            mesh.revisions.clear()
        mesh.heal("n3")
        mesh.step()
    assert mesh.liveness["n3"].verdict == "ready"
    assert [task.desired for task in mesh.assignments["n3"].record.tasks] == ["shutdown"]
    mesh.revisions.update(revisions)
    mesh.agents["n1"].slow = mesh.agents["n3"].slow = False
    mesh.run(10)
    assert mesh.running()["1"] == "n1"


def broken(*_: object) -> None:
    raise ValueError("a bug")


@pytest.mark.parametrize("state", [{}, {"health": "starting"}, {"not_ready": "the probe timed out"}])
def test_what_runs_and_is_not_up_stays_when_a_replacement_that_never_ran_comes_back(state: dict[str, Any]) -> None:
    mesh, _ = lost_before_it_ran()
    mesh.cut("n1")
    mesh.run(40)
    mesh.heal("n3")
    mesh.agents["n3"].slow = False
    mesh.run(4)
    (original,) = mesh.agents["n3"].live
    mesh.agents["n3"].slow = True
    mesh.agents["n3"].tasks[original.id] = replace(original, **state)
    mesh.step()
    mesh.heal("n1")
    mesh.step()
    assert [task.desired for task in mesh.assignments["n1"].record.tasks] == ["shutdown"]
    assert [task.desired for task in mesh.assignments["n3"].record.tasks] == ["running"]
