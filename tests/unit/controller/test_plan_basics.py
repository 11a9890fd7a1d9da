"""Services come up, grow, shrink, change and go."""

from __future__ import annotations

import msgspec
import pytest

from controller.changes import DropRollout, PutAssignment
from controller.world import Dirty
from schemas.observation import NodeFacts
from tests.unit.controller.model import GIB, Mesh, service_spec, three_nodes, turned_round


def test_a_new_service_is_spread_over_the_nodes() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec(), replicas=3)
    mesh.settle()
    assert mesh.running() == {"1": "n1", "2": "n2", "3": "n3"}
    rollout = mesh.rollouts["web"]
    assert (rollout.phase, rollout.running, rollout.wanted, rollout.updated) == ("done", 3, 3, 3)


def test_a_task_says_why_it_is_there_and_what_it_comes_from() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec())
    mesh.settle()
    task = mesh.assignments["n1"].record.tasks[0]
    assert task.id == "7-1"
    assert task.why == "3 of 3 nodes fit; fewest tasks of the service (0) and in all (0)"
    assert task.cause == "command-1"


def test_a_settled_mesh_decides_nothing() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec(), replicas=5)
    mesh.settle()
    for _ in range(20):
        assert mesh.step(0.4).changes == ()


def test_ids_go_on_where_the_epoch_left_off() -> None:
    mesh = three_nodes()
    mesh.minted = 35
    mesh.deploy(service_spec())
    mesh.settle()
    assert mesh.assignments["n1"].record.tasks[0].id == "7-10"
    assert mesh.minted == 36


def test_scaling_up_takes_the_lowest_free_numbers() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec(), replicas=2)
    mesh.settle()
    mesh.change_service("web", replicas=4)
    mesh.settle()
    assert list(mesh.running()) == ["1", "2", "3", "4"]


def test_scaling_down_takes_from_the_fullest_node_and_the_highest_slot_first() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec(), replicas=7)
    mesh.settle()
    assert mesh.running()["7"] == "n1"
    mesh.change_service("web", replicas=5)
    mesh.settle()
    assert list(mesh.running()) == ["1", "2", "3", "4", "5"]


def test_scaling_down_takes_slots_that_do_not_run_first() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec(), replicas=3)
    mesh.settle()
    mesh.fail("n1")
    mesh.step(0.01)
    mesh.change_service("web", replicas=2)
    mesh.settle()
    assert list(mesh.running()) == ["2", "3"]


def test_a_slot_that_waits_keeps_its_number() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec(), replicas=3)
    mesh.settle()
    mesh.fail("n1")
    mesh.run(3)
    assert list(mesh.running()) == ["1", "2", "3"]


def test_a_slot_without_a_task_is_told_with_the_time_since_which_it_has_none() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec(memory=10 * GIB), replicas=3)
    mesh.settle()
    assert mesh.rollouts["web"].waiting == {}
    mesh.change_service("web", replicas=4)
    mesh.settle()
    scaled = mesh.rollouts["web"].waiting
    assert list(scaled) == ["4"]
    mesh.run(60)
    mesh.kill("n1")
    mesh.run(4)
    waiting = mesh.rollouts["web"].waiting
    assert waiting["4"] == scaled["4"]
    assert waiting.keys() == {"1", "4"}
    assert waiting["1"] > scaled["4"] + 59
    mesh.boot("n1")
    mesh.settle()
    mesh.change_service("web", replicas=3)
    mesh.settle()
    assert mesh.rollouts["web"].waiting == {}


def test_slots_never_outnumber_the_replicas_while_old_tasks_end() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec(), replicas=3)
    mesh.settle()
    for agent in mesh.agents.values():
        agent.slow = True
    mesh.change_service("web", replicas=1)
    mesh.step()
    mesh.change_service("web", replicas=3)
    mesh.step()
    mesh.step()
    assert sum(len(agent.live) for agent in mesh.agents.values()) == 3


def test_a_removed_service_ends_and_its_progress_is_forgotten() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec(), replicas=3)
    mesh.settle()
    mesh.change_service("web", removed=True)
    seen = mesh.step().changes
    assert all(task.desired == "shutdown" for put in mesh.assignments.values() for task in put.record.tasks)
    assert not any(isinstance(change, DropRollout) for change in seen)
    mesh.settle()
    assert mesh.running() == {}
    assert mesh.rollouts == {}
    assert all(put.record.tasks == () and put.record.specs == {} for put in mesh.assignments.values())


def test_progress_that_was_written_for_a_removed_service_once_more_is_forgotten_when_that_is_cleared_away() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec(), replicas=3)
    mesh.settle()
    late = dict(mesh.rollouts)
    mesh.change_service("web", removed=True)
    mesh.settle()
    mesh.services.clear()
    mesh.rollouts.update(late)
    assert mesh.step().changes == (DropRollout("web"),)
    assert mesh.step().changes == ()


def test_absence_of_a_service_key_is_an_alarm_and_stops_nothing() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec(), replicas=3)
    mesh.settle()
    before = mesh.running()
    mesh.services.clear()
    decided = mesh.step()
    assert decided.changes == ()
    assert [reason.text for reason in decided.alarms] == ["service web has 3 tasks but is not in the store"]
    assert mesh.running() == before


def test_absence_of_a_revision_is_an_alarm_and_stops_nothing() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec(), replicas=3)
    mesh.settle()
    mesh.revisions.clear()
    mesh.change_service("web", replicas=1)
    decided = mesh.step()
    assert [reason.text for reason in decided.alarms] == ["revision 1 of web is not in the store"]
    assert mesh.reasons() == {"revision 1 of web is not in the store": 1}
    assert len(mesh.running()) == 3


def test_absence_of_a_node_record_is_an_alarm_and_stops_nothing() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec(), replicas=3)
    mesh.settle()
    del mesh.nodes["n2"]
    decided = mesh.step()
    assert not any(isinstance(change, PutAssignment) for change in decided.changes)
    assert [reason.text for reason in decided.alarms] == ["node n2 is not in the store"]
    assert len(mesh.running()) == 3


def test_a_changed_service_is_replaced_one_slot_at_a_time() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec(), replicas=3)
    mesh.settle()
    mesh.deploy(service_spec(image="web:2"), replicas=3)
    fewest = 3
    for _ in range(30):
        mesh.step()
        fewest = min(fewest, len(mesh.running()))
    assert fewest == 2
    assert {task.revision for put in mesh.assignments.values() for task in put.record.tasks} == {2}
    mesh.run(6)
    assert mesh.rollouts["web"].phase == "done"


def test_the_next_slot_waits_until_the_new_task_is_up() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec(), replicas=3)
    mesh.settle()
    for agent in mesh.agents.values():
        agent.slow = True
    mesh.deploy(service_spec(image="web:2"), replicas=3)
    mesh.step()
    mesh.agents["n1"].tasks = {id_: task for id_, task in mesh.agents["n1"].tasks.items() if task.state != "stopping"}
    mesh.run(10)
    revisions = sorted(task.revision for put in mesh.assignments.values() for task in put.record.tasks)
    assert revisions == [1, 1, 2]


def test_equal_specs_need_no_replacement_whatever_their_revision() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec(), replicas=3)
    mesh.settle()
    before = mesh.running()
    mesh.deploy(service_spec(), replicas=3)
    mesh.settle()
    assert mesh.running() == before
    assert mesh.rollouts["web"].revision == 2
    assert {task.revision for put in mesh.assignments.values() for task in put.record.tasks} == {1}


def test_a_deploy_that_fits_nowhere_takes_nothing_down() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec(), replicas=3)
    mesh.settle()
    mesh.deploy(service_spec(image="web:2", cpus=100.0), replicas=3)
    mesh.run(10)
    assert len(mesh.running()) == 3
    assert mesh.reasons() == {"keeps its task of revision 1: 3 nodes: 3 lack CPUs": 3}


def test_a_new_version_that_crashes_holds_up_the_rest() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec(), replicas=3)
    mesh.settle()
    mesh.deploy(service_spec(image="web:2"), replicas=3)
    for _ in range(100):
        mesh.step()
        for agent in mesh.agents.values():
            for task in agent.live:
                if task.revision == 2:
                    mesh.fail(agent.name)
    assert sorted(task.revision for agent in mesh.agents.values() for task in agent.live) == [1, 1]


def test_a_paused_service_changes_nothing_but_heals() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec(), replicas=3)
    mesh.settle()
    mesh.deploy(service_spec(image="web:2"), replicas=5)
    mesh.change_service("web", paused=True)
    mesh.fail("n1")
    mesh.run(5)
    assert {task.revision for put in mesh.assignments.values() for task in put.record.tasks} == {1}
    assert len(mesh.running()) == 3
    mesh.change_service("web", paused=False)
    mesh.settle()
    assert {task.revision for put in mesh.assignments.values() for task in put.record.tasks} == {2}
    assert len(mesh.running()) == 5


def test_a_scale_does_not_undo_what_the_rollout_made_effective() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec(), replicas=2)
    mesh.settle()
    mesh.deploy(service_spec(image="web:2"), replicas=2)
    mesh.settle()
    rolled_back = {"revision": 1}
    import msgspec

    mesh.rollouts["web"] = msgspec.structs.replace(mesh.rollouts["web"], **rolled_back)
    mesh.change_service("web", replicas=3)
    mesh.settle()
    assert mesh.rollouts["web"].revision == 1
    assert {mesh.revisions["web", 1].spec.task.hash} == {
        task.spec for put in mesh.assignments.values() for task in put.record.tasks
    }
    assert len(mesh.running()) == 3


def test_removals_come_first_and_what_is_forgotten_last() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec("old", constraints=("node.id==n3",)), replicas=1)
    mesh.settle()
    mesh.change_service("old", removed=True)
    mesh.deploy(service_spec("new"), replicas=2)
    decided = mesh.step()
    nodes = [change.node for change in decided.changes if isinstance(change, PutAssignment)]
    assert nodes == ["n3", "n1", "n2"]


def test_one_dirty_service_is_decided_without_the_others() -> None:
    mesh = three_nodes()
    for name in ("a", "b"):
        mesh.deploy(service_spec(name), replicas=2)
    mesh.settle()
    mesh.change_service("a", replicas=3)
    decided = mesh.step(dirty=Dirty(services=frozenset({"a"})))
    assert [change.record.service for change in decided.changes if hasattr(change.record, "service")] == ["a"]


def test_an_intent_that_nobody_marked_dirty_is_seen_all_the_same() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec(), replicas=2)
    mesh.settle()
    mesh.change_service("web", replicas=3)
    mesh.settle(dirty=Dirty())
    assert len(mesh.running()) == 3


@pytest.mark.parametrize("replicas", [1, 4, 9])
def test_the_order_of_the_input_does_not_matter(replicas: int) -> None:
    from controller.plan import plan
    from tests.unit.controller.model import EVERYTHING

    mesh = three_nodes()
    for name in ("b", "a", "c"):
        mesh.deploy(service_spec(name), replicas=replicas)
    mesh.step()
    mesh.deploy(service_spec("a", image="a:2"), replicas=replicas + 2)
    world = mesh.world()
    assert plan(world, EVERYTHING, mesh.now) == plan(turned_round(world), EVERYTHING, mesh.now)


def test_a_global_service_runs_once_on_each_node_and_follows_new_ones() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec("edge", mode="global"))
    mesh.settle()
    assert mesh.running("edge") == {"n1": "n1", "n2": "n2", "n3": "n3"}
    mesh.add_node("n4")
    mesh.settle(dirty=Dirty(nodes=frozenset({"n4"})))
    assert mesh.running("edge")["n4"] == "n4"
    assert mesh.rollouts["edge"].wanted == 4


def test_a_changed_global_service_is_replaced_one_node_at_a_time() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec("edge", mode="global"))
    mesh.settle()
    mesh.deploy(service_spec("edge", mode="global", image="edge:2"))
    fewest = 3
    for _ in range(30):
        mesh.step()
        fewest = min(fewest, len(mesh.running("edge")))
    assert fewest == 2
    assert {task.revision for put in mesh.assignments.values() for task in put.record.tasks} == {2}


def test_a_global_service_leaves_nodes_that_no_longer_fit() -> None:
    mesh = Mesh()
    mesh.add_node("n1", labels={"zone": "eu"})
    mesh.add_node("n2", labels={"zone": "eu"})
    mesh.deploy(service_spec("edge", mode="global", constraints=("node.labels.zone==eu",)))
    mesh.settle()
    assert list(mesh.running("edge")) == ["n1", "n2"]
    mesh.change_node("n2", labels={"zone": "us"})
    mesh.settle()
    assert list(mesh.running("edge")) == ["n1"]
    assert mesh.rollouts["edge"].phase == "done"


def test_a_global_task_stays_while_its_agent_has_started_anew_and_not_looked_around_yet() -> None:
    mesh = Mesh()
    mesh.add_node("n1")
    mesh.add_node("n2")
    told = mesh.agents["n2"].facts
    mesh.deploy(service_spec("edge", mode="global", constraints=(f"node.platform.arch=={told.architecture}",)))
    mesh.settle()
    before = mesh.running("edge")
    assert list(before) == ["n1", "n2"]
    mesh.agents["n2"].facts = NodeFacts()
    mesh.run(5)
    assert mesh.running("edge") == before
    mesh.agents["n2"].facts = msgspec.structs.replace(told, architecture="riscv64")
    mesh.run(5)
    assert list(mesh.running("edge")) == ["n1"], "now it is known that it does not fit"


def test_a_slot_that_finds_no_place_does_not_hold_up_an_update() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec(max_per_node=1), replicas=4)
    mesh.run(1)
    mesh.deploy(service_spec(image="web:2", max_per_node=1), replicas=4)
    fewest = 3
    for _ in range(30):
        mesh.step()
        fewest = min(fewest, len(mesh.running()))
    assert fewest == 2
    assert mesh.rollouts["web"].updated == 3
    assert mesh.reasons() == {"3 nodes: 3 at 1 task of the service": 1}


def test_an_update_waits_for_nodes_that_a_new_leader_has_not_heard() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec(), replicas=3)
    mesh.settle()
    mesh.deploy(service_spec(image="web:2"), replicas=3)
    mesh.epoch, mesh.took_over, mesh.hearing_since = 8, mesh.now, mesh.now
    mesh.heard.clear()
    mesh.now += 0.1
    assert not any(isinstance(change, PutAssignment) for change in mesh.round().changes)
    assert sum(mesh.reasons().values()) == 3
    mesh.settle()
    assert mesh.rollouts["web"].updated == 3
