"""Nodes fall silent, come back, reboot, are drained, paused and removed; leaders change."""

from __future__ import annotations

import pytest

from controller.changes import PutAssignment
from tests.unit.controller.model import Mesh, service_spec, three_nodes


def settled(replicas: int = 3, nodes: int = 3) -> Mesh:
    mesh = Mesh()
    for number in range(1, nodes + 1):
        mesh.add_node(f"n{number}")
    mesh.deploy(service_spec(), replicas=replicas)
    mesh.settle()
    return mesh


def test_the_slots_of_a_silent_node_are_filled_elsewhere_and_its_assignment_stays() -> None:
    mesh = settled()
    before = mesh.assignments["n3"]
    mesh.kill("n3")
    mesh.run(4)
    assert mesh.liveness["n3"].verdict == "down"
    assert mesh.assignments["n3"] is before
    assert sorted(mesh.running().values()) == ["n1", "n1", "n2"]
    moved = mesh.assignments["n1"].record.tasks[-1]
    assert moved.cause == "node.down/n3"
    assert moved.why.startswith("replaces 7-3, node n3 is down; ")
    assert mesh.rollouts["web"].phase == "done"


def test_a_node_that_comes_back_loses_what_was_replaced() -> None:
    mesh = settled()
    mesh.cut("n3")
    mesh.run(4)
    assert mesh.assigned()["3"] == ["n1", "n3"]
    mesh.heal("n3")
    mesh.settle()
    assert mesh.assigned()["3"] == ["n1"]
    assert mesh.running()["3"] == "n1"
    assert mesh.agents["n3"].live == []


def test_the_original_stays_if_its_replacement_is_not_up_yet() -> None:
    mesh = settled()
    mesh.agents["n1"].slow = True
    mesh.cut("n3")
    mesh.run(4)
    assert mesh.assigned()["3"] == ["n1", "n3"]
    mesh.heal("n3")
    mesh.step()
    mesh.agents["n1"].slow = False
    mesh.settle()
    assert mesh.assigned()["3"] == ["n3"]
    assert mesh.running()["3"] == "n3"


def test_nothing_is_decided_on_the_observation_of_before() -> None:
    mesh = settled()
    mesh.cut("n3")
    mesh.run(4)
    mesh.heal("n3")
    mesh.beat()
    mesh.round()
    assert mesh.assigned()["3"] == ["n1", "n3"]


def test_a_rebooted_node_has_no_live_tasks() -> None:
    mesh = settled()
    mesh.kill("n3")
    mesh.run(4)
    mesh.boot("n3")
    mesh.settle()
    assert mesh.running()["3"] == "n1"
    assert mesh.assignments["n3"].record.tasks == ()


def test_a_quick_reboot_without_a_verdict_is_waited_for() -> None:
    mesh = settled()
    agent = mesh.agents["n3"]
    agent.boot = "boot-2"
    mesh.beat()
    before = dict(mesh.assignments)
    mesh.change_service("web", replicas=1)
    mesh.round()
    assert mesh.assignments["n3"] is before["n3"]
    mesh.settle()
    assert len(mesh.running()) == 1


def test_scaling_works_while_a_node_is_down() -> None:
    mesh = settled()
    mesh.kill("n3")
    mesh.run(4)
    mesh.change_service("web", replicas=5)
    mesh.settle()
    assert len(mesh.running()) == 5
    mesh.change_service("web", replicas=1)
    mesh.settle()
    assert len(mesh.running()) == 1


def test_a_removed_service_waits_for_the_node_that_is_down() -> None:
    mesh = settled()
    mesh.cut("n3")
    mesh.run(4)
    mesh.change_service("web", removed=True)
    mesh.run(2)
    assert mesh.reasons() == {"a task is on node n3, which is down": 1}
    mesh.heal("n3")
    mesh.settle()
    assert mesh.rollouts == {}
    assert mesh.agents["n3"].live == []


def test_a_removed_service_waits_for_what_a_node_that_is_down_was_last_seen_to_run() -> None:
    """The store was made anew while n3 was silent: nothing is assigned to it, and it comes back with what it obeys."""
    mesh = settled()
    mesh.cut("n3")
    mesh.run(4)
    held = mesh.assignments.pop("n3")
    mesh.change_service("web", removed=True)
    mesh.run(4)
    assert mesh.reasons() == {"a task is on node n3, which is down": 1}
    mesh.assignments["n3"] = held  # readopted
    mesh.heal("n3")
    mesh.settle()
    assert mesh.rollouts == {}
    assert mesh.agents["n3"].live == []


@pytest.mark.parametrize("gone", ["the node was removed", "the task had ended"])
def test_a_removed_service_waits_for_no_node_on_which_nothing_can_be(gone: str) -> None:
    mesh = settled()
    if gone == "the task had ended":
        mesh.fail("n3")
        mesh.observe()
    mesh.cut("n3")
    mesh.run(4)
    mesh.assignments.pop("n3")
    mesh.change_service("web", removed=True)
    if gone == "the node was removed":
        mesh.change_node("n3", removed=True)
    mesh.run(4)
    assert mesh.rollouts == {}


def begun_of(mesh: Mesh) -> str:
    """The id of the only task that n2 is given."""
    return mesh.assignments["n2"].record.tasks[0].id


def test_a_drained_node_is_emptied_and_stays_empty() -> None:
    mesh = settled()
    mesh.change_node("n2", availability="drain", cause="command-9")
    mesh.step()
    (begun,) = [task for task in mesh.assignments["n1"].record.tasks if task.slot == "2"]
    assert (begun.cause, begun.why.split(";")[0]) == ("command-9", f"replaces {begun_of(mesh)}, node n2 is drained")
    mesh.step()
    ended = mesh.assignments["n2"].record.tasks[0]
    assert (ended.desired, ended.cause) == ("shutdown", "command-9")
    mesh.settle()
    assert sorted(mesh.running().values()) == ["n1", "n1", "n3"]
    mesh.change_service("web", replicas=8)
    mesh.settle()
    assert "n2" not in mesh.running().values()
    why = mesh.rollouts["web"].slots["2"].ended[0].why
    assert why == f"node n2 is drained; {begun.id} on n1 is up in its place"


def test_a_paused_node_keeps_its_tasks_and_gets_none() -> None:
    mesh = settled()
    mesh.change_node("n2", availability="pause")
    mesh.change_service("web", replicas=6)
    mesh.settle()
    assert sorted(mesh.running().values()).count("n2") == 1


def test_a_global_service_leaves_a_drained_node_and_is_then_settled() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec("edge", mode="global"))
    mesh.settle()
    mesh.change_node("n2", availability="drain")
    mesh.settle()
    assert list(mesh.running("edge")) == ["n1", "n3"]
    assert (mesh.rollouts["edge"].phase, mesh.rollouts["edge"].wanted) == ("done", 2)


def test_a_global_service_does_not_wait_for_a_node_that_is_down() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec("edge", mode="global"))
    mesh.settle()
    mesh.cut("n2")
    mesh.run(4)
    assert (mesh.rollouts["edge"].phase, mesh.rollouts["edge"].wanted) == ("done", 2)
    before = mesh.assignments["n2"]
    mesh.heal("n2")
    mesh.settle()
    assert mesh.rollouts["edge"].wanted == 3
    assert mesh.assignments["n2"] is before


def test_a_removed_node_that_is_down_is_cleared() -> None:
    mesh = settled()
    mesh.kill("n3")
    mesh.run(4)
    mesh.change_node("n3", removed=True)
    mesh.settle()
    assert "n3" not in mesh.assignments
    assert "n3" not in mesh.liveness
    assert sorted(mesh.running().values()) == ["n1", "n1", "n2"]


def test_a_removed_node_that_still_answers_is_emptied_first() -> None:
    mesh = settled()
    mesh.change_node("n3", removed=True)
    mesh.settle()
    assert "n3" not in mesh.assignments
    assert mesh.agents["n3"].live == []
    assert len(mesh.running()) == 3


def test_what_is_left_of_a_removed_node_is_forgotten_only_when_nothing_is_assigned_to_it() -> None:
    mesh = settled()
    mesh.agents["n3"].slow = True
    mesh.change_node("n3", removed=True)
    mesh.run(2)
    assert mesh.assignments["n3"].record.tasks
    assert "n3" in mesh.liveness
    mesh.agents["n3"].slow = False
    mesh.run(3)
    assert "n3" not in mesh.assignments
    assert "n3" not in mesh.liveness
    assert mesh.round().changes == ()


def test_a_node_without_a_record_keeps_what_it_has() -> None:
    mesh = settled()
    del mesh.nodes["n3"]
    before = mesh.assignments["n3"]
    mesh.run(2)
    assert mesh.assignments["n3"] is before
    assert "n3" in mesh.liveness


def test_an_operator_can_confirm_that_a_node_is_dead() -> None:
    mesh = settled()
    mesh.cut("n3")
    mesh.run(4)
    mesh.order("node.confirm-dead", "n3")
    mesh.settle()
    assert mesh.liveness["n3"].ended
    assert mesh.assignments["n3"].record.tasks == ()
    mesh.heal("n3")
    mesh.settle()
    assert not mesh.liveness["n3"].ended
    assert mesh.agents["n3"].live == []


def test_a_confirmation_of_death_is_used_up_if_the_node_lives() -> None:
    mesh = settled()
    mesh.order("node.confirm-dead", "n3")
    mesh.settle()
    mesh.cut("n3")
    mesh.run(4)
    assert not mesh.liveness["n3"].ended
    assert mesh.assignments["n3"].record.tasks


def test_an_engine_that_does_not_answer_keeps_its_tasks_and_gets_none() -> None:
    mesh = settled()
    mesh.agents["n2"].engine = "no such socket"
    mesh.change_service("web", replicas=6)
    mesh.run(4)
    assert mesh.liveness["n2"].verdict == "not-ready"
    assert sorted(mesh.running().values()).count("n2") == 1
    assert len(mesh.running()) == 6


def take_over(mesh: Mesh) -> None:
    mesh.epoch, mesh.minted, mesh.took_over, mesh.hearing_since = mesh.epoch + 1, 0, mesh.now, mesh.now
    mesh.heard.clear()


def test_a_new_leader_changes_nothing_on_nodes_that_it_has_not_heard() -> None:
    mesh = settled()
    take_over(mesh)
    before = dict(mesh.assignments)
    mesh.change_service("web", replicas=1)
    mesh.now += 0.1
    decided = mesh.round()
    assert not any(isinstance(change, PutAssignment) for change in decided.changes)
    assert decided.wake_at is not None
    assert decided.wake_at <= mesh.now + 0.5
    assert sum(mesh.reasons().values()) == 2
    assert mesh.assignments == before
    mesh.settle()
    assert len(mesh.running()) == 1


def test_a_new_leader_counts_unheard_tasks_as_they_are() -> None:
    mesh = settled()
    take_over(mesh)
    mesh.cut("n3")
    mesh.change_service("web", replicas=4)
    mesh.step()
    assert mesh.assigned() == {"1": ["n1"], "2": ["n2"], "3": ["n3"], "4": ["n1"]}
    mesh.run(4)
    assert len(mesh.assigned()["3"]) == 2


def test_a_new_leader_goes_on_where_the_old_one_was() -> None:
    mesh = settled()
    mesh.deploy(service_spec(image="web:2"), replicas=3)
    for _ in range(40):
        mesh.step()
        take_over(mesh)
    for _ in range(3):
        mesh.settle()
    assert {task.revision for put in mesh.assignments.values() for task in put.record.tasks} == {2}
    assert len(mesh.running()) == 3


def test_five_of_nine_silent_nodes_pull_the_brake() -> None:
    mesh = settled(replicas=9, nodes=9)
    mesh.now += 100
    mesh.hearing_since = mesh.now
    mesh.step()
    mesh.cut("n1", "n2", "n3", "n4", "n5")
    mesh.run(5)
    assert mesh.brake.engaged
    assert mesh.brake.silent == ("n1", "n2", "n3", "n4", "n5")
    assert mesh.brake.why == "5 of 9 nodes fell silent at once"
    assert mesh.reasons() == {"the brake is on: too many nodes fell silent at once": 5}
    assert [task for nodes in mesh.assigned().values() for task in nodes].count("n6") == 1
    mesh.deploy(service_spec("new"), replicas=4)
    mesh.settle()
    assert len(mesh.running("new")) == 4
    mesh.heal("n1", "n2")
    mesh.settle()
    assert not mesh.brake.engaged
    assert len(mesh.running()) == 9


def test_four_of_nine_silent_nodes_are_replaced() -> None:
    mesh = settled(replicas=9, nodes=9)
    mesh.kill("n1", "n2", "n3", "n4")
    mesh.run(5)
    assert not mesh.brake.engaged
    assert len(mesh.running()) == 9


def test_two_silent_nodes_never_pull_the_brake() -> None:
    mesh = settled()
    mesh.kill("n1", "n2")
    mesh.run(5)
    assert not mesh.brake.engaged
    assert sorted(mesh.running().values()) == ["n3", "n3", "n3"]


def test_an_operator_releases_the_brake_and_it_stays_released() -> None:
    mesh = settled(replicas=5, nodes=5)
    mesh.kill("n1", "n2", "n3")
    mesh.run(5)
    assert mesh.brake.engaged
    mesh.order("brake.release")
    mesh.run(5)
    assert not mesh.brake.engaged
    assert mesh.brake.released_by
    assert sorted(mesh.running().values()).count("n4") >= 2
    assert len(mesh.running()) == 5


def test_a_new_leader_that_hears_few_pulls_the_brake() -> None:
    mesh = settled(replicas=5, nodes=5)
    take_over(mesh)
    mesh.cut("n1", "n2", "n3")
    mesh.run(5)
    assert mesh.brake.engaged
