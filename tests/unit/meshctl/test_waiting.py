"""When a deploy is over, and what is said meanwhile: a machine that is shown looks."""

from __future__ import annotations

from typing import Any

from meshctl.waiting import Goal, Look, Waiting
from meshctl.watching import canaries
from schemas.errors import RolloutFailed, TimedOut
from schemas.observation import EndedTask
from schemas.records import Reason, RolloutRecord, ServiceRecord, UpdateProgress
from schemas.serviceapi import ServiceView
from schemas.spec import ContainerSpec, RestartPolicy, ServiceSpec, TaskSpec
from schemas.taskapi import TaskView


def view(
    wanted: int = 2, *, updated: int | None = None, sequence: int = 10, intent: int = 10, **rollout: Any
) -> ServiceView:
    condition = rollout.pop("condition", "any")
    removed = rollout.pop("removed", False)
    task = TaskSpec(container=ContainerSpec(image="hello:1"), restart=RestartPolicy(condition=condition))
    return ServiceView(
        record=ServiceRecord(name="web", replicas=wanted, removed=removed),
        spec=ServiceSpec(name="web", task=task),
        sequence=sequence,
        rollout=RolloutRecord(
            service="web", intent=intent, wanted=wanted, updated=wanted if updated is None else updated, **rollout
        ),
        desired=wanted,
    )


def task(slot: int, state: str = "running", named: str = "", **fields: Any) -> TaskView:
    return TaskView(
        id=named or f"a-{slot}", service="web", slot=str(slot), state=state, node="n1", revision=1, **fields
    )


def pending(slot: int, why: str) -> TaskView:
    return TaskView(id="", service="web", slot=str(slot), state="pending", revision=1, why=why)


class Story:
    """A wait of which the looks are told one by one."""

    def __init__(self, goal: Goal | None = None, timeout: float = 600.0) -> None:
        self.waiting = Waiting([goal or Goal(service="web", revision=1, fresh=True)], started=0.0, timeout=timeout)

    def look(self, now: float, *tasks: TaskView, service: ServiceView | None = None) -> Look:
        return self.waiting.look({"web": service or view()}, tasks, now)


def test_it_is_done_when_every_slot_has_been_up_for_the_monitor_time() -> None:
    story = Story()
    assert not story.look(1.0, task(1), task(2)).done
    assert not story.look(5.9, task(1), task(2)).done
    assert story.look(6.0, task(1), task(2)).done


def test_a_new_task_in_a_slot_starts_the_watch_anew() -> None:
    story = Story()
    story.look(1.0, task(1), task(2))
    story.look(4.0, task(1), task(2, named="b-2"))
    assert not story.look(6.5, task(1), task(2, named="b-2")).done
    assert story.look(9.0, task(1), task(2, named="b-2")).done


def test_a_task_that_is_not_healthy_yet_does_not_count() -> None:
    story = Story()
    look = story.look(1.0, task(1), task(2, health="starting"))
    assert (look.progress[0].running, look.progress[0].words) == (1, (("Starting", 1),))
    assert not story.look(100.0, task(1), task(2, health="starting")).done


def test_tasks_of_the_old_spec_do_not_make_it_done() -> None:
    story = Story()
    for now in (1.0, 20.0):
        assert not story.look(now, task(1), task(2), service=view(updated=1)).done


def test_a_leader_that_has_not_answered_this_intent_is_waited_for() -> None:
    story = Story()
    for now in (1.0, 20.0):
        look = story.look(now, task(1), task(2), service=view(sequence=11))
        assert not look.done
        assert not look.progress[0].known


def test_what_was_not_changed_and_runs_is_done_at_once() -> None:
    story = Story(Goal(service="web", revision=1, settled=True))
    assert story.look(0.1, task(1), task(2), service=view(phase="done")).done


def test_slots_that_are_complete_count_as_done() -> None:
    story = Story()
    service = view(1, condition="none", complete=1, phase="done")
    ended = task(1, "exited", exit_code=0, desired="shutdown")
    assert story.look(0.1, ended, service=service).done


def test_scaled_to_nothing_it_waits_until_nothing_is_left() -> None:
    story = Story(Goal(service="web"))
    assert not story.look(1.0, task(1, "stopping", desired="shutdown", current=False), service=view(0)).done
    assert story.look(2.0, service=view(0)).done


def test_three_ends_of_one_slot_are_a_failure_with_the_last_log_lines() -> None:
    story = Story()
    ends = [
        task(
            1,
            "failed",
            named=f"a-{n}",
            exit_code=3,
            container="c",
            log_tail=("no such table",),
            since=float(n),
            desired="shutdown",
        )
        for n in range(3)
    ]
    assert story.look(1.0, *ends[:1], task(2)).error is None
    assert story.look(2.0, *ends[:2], task(2)).error is None
    look = story.look(3.0, *ends, task(2))
    assert isinstance(look.error, RolloutFailed)
    assert look.error.message == "web.1 ended 3 times: exit code 3"
    assert look.details == (
        "  last log lines of web.1 on n1:",
        "  | no such table",
        "  what runs now: 0 of 2 tasks",
    )


def test_ends_from_before_and_ends_on_request_do_not_count() -> None:
    story = Story(Goal(service="web", revision=1))
    old = [task(1, "failed", named=f"o-{n}", exit_code=1, desired="shutdown") for n in range(3)]
    told = [task(1, "exited", named=f"t-{n}", exit_code=0, desired="shutdown", why="scaled down") for n in range(3)]
    assert story.look(1.0, *old, task(2)).error is None
    assert story.look(2.0, *old, *told, task(2)).error is None


def test_a_task_that_ends_with_code_0_again_and_again_fails_too() -> None:
    story = Story()
    ends = [task(1, "exited", named=f"a-{n}", exit_code=0, desired="shutdown") for n in range(3)]
    look = story.look(1.0, *ends)
    assert look.error is not None
    assert "it exits at once, with code 0" in look.error.message


def test_when_the_leader_gives_up_its_words_are_told() -> None:
    look = Story().look(1.0, service=view(phase="failed", why="2 slots failed too often"))
    assert isinstance(look.error, RolloutFailed)
    assert look.error.message == "service web: 2 slots failed too often"


def test_a_service_removed_meanwhile_ends_the_wait() -> None:
    assert isinstance(Story().look(1.0, service=view(removed=True)).error, RolloutFailed)
    assert isinstance(Waiting([Goal(service="web")], started=0, timeout=1).look({}, [], 0.1).error, RolloutFailed)


def test_too_late_each_lagging_slot_is_told_with_its_reason() -> None:
    story = Story(timeout=10.0)
    service = view(3, reasons=(Reason(text="3 nodes: 3 lack memory", count=1),), updated=2)
    tasks = (task(1), task(2, "starting"), pending(3, "3 nodes: 3 lack memory"))
    assert story.look(9.0, *tasks, service=service).error is None
    look = story.look(10.0, *tasks, service=service)
    assert isinstance(look.error, TimedOut)
    assert look.error.message == "not all runs after 10s: web 0 of 3"
    assert look.details == (
        "  web.2: Starting on n1: no reason is known",
        "  web.3: Pending: 3 nodes: 3 lack memory",
    )


def test_of_many_lagging_slots_ten_are_told() -> None:
    story = Story(timeout=0.0)
    tasks = [pending(n, "no room") for n in range(1, 31)]
    look = story.look(1.0, *tasks, service=view(30, updated=0))
    assert len(look.details) == 11
    assert look.details[-1] == "  ... and 20 more slots"


def test_reasons_are_shown_as_soon_as_the_leader_tells_them() -> None:
    service = view(2, reasons=(Reason(text="3 nodes: 2 lack memory, 1 drained", count=2),), updated=0)
    look = Story().look(0.3, pending(1, ""), pending(2, ""), service=service)
    assert look.progress[0].reasons == ("3 nodes: 2 lack memory, 1 drained (2x)",)
    assert look.progress[0].words == (("Pending", 2),)


CULPRIT = EndedTask(id="a-9", node="n2", revision=2, state="failed", error="exit code 1", log_tail=("boom",))


def test_a_roll_back_is_waited_for_and_then_told_as_a_failure() -> None:
    story = Story(Goal(service="web", revision=2, fresh=True))
    why = "rolled back from revision 2 to revision 1: 1 of 2 replaced tasks failed"
    under_way = UpdateProgress(state="rollback_started", total=2, culprit=CULPRIT, culprit_slot="1")
    look = story.look(1.0, task(1), task(2), service=view(update=under_way, why="rolling back", revision=1))
    assert (look.done, look.error, look.progress[0].reasons) == (False, None, ("rolling back",))
    over = UpdateProgress(state="rollback_completed", total=2, culprit=CULPRIT, culprit_slot="1")
    look = story.look(9.0, task(1), task(2), service=view(phase="failed", update=over, why=why, revision=1, running=2))
    assert isinstance(look.error, RolloutFailed)
    assert look.error.message == f"service web: {why}"
    assert look.details == (
        "  web.1 of revision 2 failed on n2: exit code 1",
        "  last log lines of web.1 on n2:",
        "  | boom",
        "  what runs now: revision 1, as before: 2 of 2",
    )


def test_a_paused_update_is_told_with_what_runs() -> None:
    story = Story(Goal(service="web", revision=2, fresh=True))
    paused = UpdateProgress(state="paused", total=2, failed=1)
    look = story.look(1.0, task(2), service=view(phase="failed", update=paused, why="paused: x", revision=2, updated=1))
    assert isinstance(look.error, RolloutFailed)
    assert look.details == ("  what runs now: 0 tasks; 1 of 2 slots have revision 2, 0 of them run",)


def test_while_the_leader_watches_new_tasks_it_is_not_done() -> None:
    story = Story()
    watching = UpdateProgress(state="updating", total=2)
    story.look(1.0, task(1), task(2), service=view(update=watching))
    assert not story.look(60.0, task(1), task(2), service=view(update=watching)).done
    done = UpdateProgress(state="completed", total=2)
    assert story.look(61.0, task(1), task(2), service=view(update=done, phase="done")).done


def test_scaling_after_a_roll_back_succeeds() -> None:
    story = Story(Goal(service="web", scaled=True))
    over = UpdateProgress(state="rollback_completed", total=2)
    story.look(1.0, task(1), task(2), service=view(phase="failed", update=over))
    assert story.look(7.0, task(1), task(2), service=view(phase="failed", update=over)).done


def test_a_canary_that_stands_is_all_a_deploy_waits_for() -> None:
    why = "canary: 1 of 2 slots have revision 2: promote or abort it"
    standing = UpdateProgress(state="updating", total=2, stands=True)
    service = view(2, phase="converging", updated=1, why=why, update=standing)
    look = Story().look(0.0, task(1), task(2), service=service)
    assert look.done
    assert canaries(look) == [f"web: {why} (meshctl service promote | abort web)"]
