"""What follows the end of a task: another, a pause, nothing, giving up; and tasks that a node restarted by itself."""

from __future__ import annotations

import msgspec
import pytest

from controller.census import Task
from controller.changes import PutAssignment
from controller.restarts import after_end, fresh_start
from schemas.observation import ObservedTask
from schemas.records import SlotHistory
from schemas.spec import RestartPolicy
from tests.unit.controller.model import Mesh, service_spec, three_nodes


def ended(state: str = "failed", *, ran: float = 1.0, id_: str = "7-1") -> Task:
    seen = ObservedTask(id=id_, service="web", slot="1", revision=1, spec="s", state=state, ran=ran)  # type: ignore[arg-type]
    return Task(id_, "web", "1", "n1", "s", "ended", None, seen)


@pytest.mark.parametrize(
    ("condition", "state", "field"),
    [
        ("none", "exited", "complete"),
        ("none", "failed", "given_up"),
        ("on-failure", "exited", "complete"),
        ("on-failure", "failed", ""),
        ("any", "exited", ""),
        ("any", "failed", ""),
    ],
)
def test_the_policy_says_whether_another_task_follows(condition: str, state: str, field: str) -> None:
    policy = RestartPolicy(condition=condition)  # type: ignore[arg-type]
    history = after_end(SlotHistory(), ended(state), policy, 100.0)
    assert (history.complete, history.given_up) == ("s" * (field == "complete"), "s" * (field == "given_up"))
    assert (history.next_at > 100.0) == (not field)


def test_pauses_double_up_to_the_longest_and_start_anew_after_a_long_run() -> None:
    policy = RestartPolicy(delay=1.0, max_delay=5.0, reset_after=60.0)
    history, pauses = SlotHistory(), []
    for _ in range(5):
        history = after_end(history, ended(), policy, 100.0)
        pauses.append(history.next_at - 100.0)
    for pause, least in zip(pauses, (1.0, 2.0, 4.0, 5.0, 5.0), strict=True):
        assert least <= pause <= least * 1.1
    history = after_end(history, ended(ran=61.0), policy, 100.0)
    assert history.restarts == 1


def test_attempts_are_counted_within_the_window() -> None:
    policy = RestartPolicy(max_attempts=2, window=10.0)
    history = SlotHistory()
    for at in (100.0, 101.0, 112.0, 113.0):
        history = after_end(history, ended(), policy, at)
        assert not history.given_up
    assert after_end(history, ended(), policy, 114.0).given_up == "s"


def test_a_deploy_forgives_but_does_not_forget() -> None:
    history = after_end(SlotHistory(), ended(), RestartPolicy(condition="none"), 100.0)
    assert fresh_start(history) == SlotHistory()


def test_an_ended_task_is_replaced_after_its_pause_and_remembered() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec())
    mesh.settle()
    id_ = mesh.fail("n1", error="exit code 1", log_tail=("boom",))
    decided = mesh.step(0.1)
    assert mesh.running() == {}
    history = mesh.rollouts["web"].slots["1"]
    assert [(entry.id, entry.exit_code, entry.log_tail) for entry in history.ended] == [(id_, 1, ("boom",))]
    assert mesh.reasons() == {"waits before its next start; the last task failed: exit code 1": 1}
    assert mesh.rollouts["web"].phase == "converging"
    assert decided.wake_at is not None
    mesh.now = history.next_at
    mesh.settle()
    task = mesh.assignments["n1"].record.tasks[0]
    assert task.cause == f"task.ended/{id_}"
    assert mesh.rollouts["web"].phase == "done"


def test_the_last_five_ends_of_a_slot_are_kept_newest_first() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec(restart=RestartPolicy(delay=0.1, max_delay=0.1)))
    failed = []
    for _ in range(7):
        mesh.run(1, 0.2)
        failed.append(mesh.fail(next(iter(mesh.running().values()))))
    mesh.run(1, 0.2)
    assert [entry.id for entry in mesh.rollouts["web"].slots["1"].ended] == failed[:1:-1]


def test_a_node_where_the_service_keeps_failing_is_tried_last() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec(restart=RestartPolicy(delay=0.1, max_delay=0.1)))
    for _ in range(5):
        mesh.run(1, 0.2)
        mesh.fail("n1")
    mesh.run(1, 0.2)
    assert mesh.running() == {"1": "n2"}
    for name in ("n2", "n3"):
        mesh.change_node(name, availability="drain")
    mesh.run(2, 0.2)
    assert mesh.running() == {"1": "n1"}
    assert mesh.assignments["n1"].record.tasks[0].why.endswith("though it keeps failing there")


def test_a_slot_whose_work_is_done_counts_as_done() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec("job", restart=RestartPolicy(condition="on-failure")), replicas=2)
    mesh.settle()
    mesh.fail("n1", "job", state="exited")
    mesh.settle()
    rollout = mesh.rollouts["job"]
    assert (rollout.phase, rollout.running, rollout.complete, rollout.wanted) == ("done", 1, 1, 2)
    mesh.run(100, 5)
    assert len(mesh.running("job")) == 1


def test_done_work_is_done_again_only_for_another_spec() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec("job", restart=RestartPolicy(condition="none")))
    mesh.settle()
    mesh.fail("n1", "job", state="exited")
    mesh.settle()
    mesh.deploy(service_spec("job", restart=RestartPolicy(condition="none")))
    mesh.settle()
    assert mesh.running("job") == {}
    mesh.deploy(service_spec("job", image="job:2", restart=RestartPolicy(condition="none")))
    mesh.settle()
    assert mesh.running("job") == {"1": "n1"}


def test_a_slot_that_gives_up_fails_the_rollout_with_its_reason() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec(restart=RestartPolicy(max_attempts=1, delay=0.1)), replicas=1)
    mesh.settle()
    for _ in range(2):
        mesh.fail("n1", error="no such file")
        mesh.run(1, 0.2)
    rollout = mesh.rollouts["web"]
    assert (rollout.phase, rollout.why) == ("failed", "1 of 1 slots gave up")
    assert mesh.reasons() == {"given up: the last task failed: no such file": 1}
    mesh.deploy(service_spec(restart=RestartPolicy(max_attempts=1, delay=0.1)), replicas=1)
    mesh.run(6)
    assert mesh.rollouts["web"].phase == "done"


def successor(mesh: Mesh, node: str, base: str, number: int, *, state: str = "running") -> str:
    agent = mesh.agents[node]
    old = agent.tasks[base]
    id_ = f"{base.partition('.')[0]}.r{number}"
    agent.tasks[id_] = msgspec.structs.replace(
        old, id=id_, predecessor=base, state=state, exit_code=None, error="", ran=0.0
    )
    return id_


def test_a_successor_is_adopted_and_there_are_never_two() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec(), replicas=3)
    mesh.settle()
    first = mesh.fail("n2")
    second = successor(mesh, "n2", first, 1)
    decided = mesh.step()
    assert [change.node for change in decided.changes if isinstance(change, PutAssignment)] == ["n2"]
    assert [task.id for task in mesh.assignments["n2"].record.tasks] == [second]
    assert mesh.agents["n2"].tasks[second].state == "running"
    history = mesh.rollouts["web"].slots["2"]
    assert [entry.id for entry in history.ended] == [first]
    assert history.restarts == 1
    mesh.settle()
    assert len(mesh.running()) == 3


def test_the_last_of_many_successors_is_adopted() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec())
    mesh.settle()
    first = mesh.fail("n1")
    successor(mesh, "n1", first, 1, state="failed")
    third = successor(mesh, "n1", first, 2)
    mesh.settle()
    assert [task.id for task in mesh.assignments["n1"].record.tasks] == [third]
    assert [entry.id for entry in mesh.rollouts["web"].slots["1"].ended] == [f"{first}.r1", first]


def test_a_successor_that_ended_too_is_followed_as_any_other() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec())
    mesh.settle()
    first = mesh.fail("n1")
    successor(mesh, "n1", first, 1, state="failed")
    mesh.run(5)
    assert mesh.running() == {"1": "n1"}
    assert [task.id for task in mesh.assignments["n1"].record.tasks] == ["7-2"]


def test_a_successor_on_a_node_that_comes_back_gives_way_to_the_replacement() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec(), replicas=3)
    mesh.settle()
    mesh.cut("n3")
    first = mesh.fail("n3")
    successor(mesh, "n3", first, 1)
    for _ in range(10):
        mesh.now += 0.4
        mesh.beat()
        mesh.observe()
        mesh.round()
        for name in ("n1", "n2"):
            mesh.agents[name].obey(mesh.assignments.get(name))
    mesh.heal("n3")
    mesh.settle()
    assert sorted(mesh.running()) == ["1", "2", "3"]
    assert mesh.assigned()["3"] == ["n1"]


def test_a_task_that_nobody_asked_for_holds_its_slot_until_it_ended() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec())
    mesh.settle()
    agent = mesh.agents["n2"]
    stray = msgspec.structs.replace(next(iter(mesh.agents["n1"].tasks.values())), id="3-1", slot="2")
    agent.tasks["3-1"] = stray
    mesh.change_service("web", replicas=2)
    mesh.observe()
    mesh.now += 0.1
    mesh.beat()
    mesh.round()
    assert mesh.assigned() == {"1": ["n1"]}
    assert mesh.reasons() == {"a task that no assignment names still runs on node n2": 1}
    mesh.run(1)
    assert list(mesh.running()) == ["1", "2"]
