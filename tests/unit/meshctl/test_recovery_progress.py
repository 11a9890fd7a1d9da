"""What every slot has been up with for longer than an update is watched has come up: no failure takes it back."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from meshctl.recovery import Recovery
from schemas.nodeapi import AssignmentView
from schemas.records import RevisionRecord, RolloutRecord, ServiceRecord, SlotHistory, UpdateProgress
from schemas.spec import ServiceSpec, UpdatePolicy
from schemas.wire import Wire
from tests.unit.meshctl.test_recovery_plans import SPECS, backup, plan, stored, view

LONG = 5.1
"""Seconds: a little more than the default of `monitor`."""

BEFORE = RolloutRecord(
    service="web",
    deploy=1,
    revision=1,
    phase="done",
    good=1,
    slots={"1": SlotHistory(restarts=3, next_at=99.0, given_up="x", complete="y")},
    update=UpdateProgress(state="completed"),
)


def up(shown: AssignmentView, *seconds: float, successor: str = "") -> AssignmentView:
    """For so long its tasks were up; of a successor, which its predecessor was only for a second."""
    assert shown.assignment is not None
    tasks = list(zip(shown.assignment.tasks, seconds, strict=True))
    told = {f"{task.id}{successor}": each for task, each in tasks if each}
    return replace(shown, up=told | {task.id: 1.0 for task, _ in tasks if successor})


def base(policy: UpdatePolicy | None = None, **changes: Any) -> dict[str, Wire]:
    spec = ServiceSpec(name="web", task=SPECS[1], update=policy or UpdatePolicy())
    service = ServiceRecord(**{"name": "web", "target": 1, "replicas": 2, **changes})
    return {"service__web": service, "revision__web__1": RevisionRecord(number=1, spec=spec), "rollout__web": BEFORE}


def progress(recovery: Recovery) -> RolloutRecord:
    found = stored(recovery, "rollout.web", RolloutRecord)
    assert isinstance(found, RolloutRecord)
    return found


def deploy_of(recovery: Recovery) -> int:
    found = stored(recovery, "service.web", ServiceRecord)
    assert isinstance(found, ServiceRecord)
    return found.deploy


@pytest.mark.parametrize("successor", ["", ".r2"])
def test_a_later_revision_that_all_slots_have_been_up_with_for_long_has_come_up(successor: str) -> None:
    recovery = plan(backup(**base()), up(view("n1", "1", "2", revision=2), LONG, LONG, successor=successor))
    found = progress(recovery)
    assert (found.deploy, found.revision, found.replicas, found.good) == (deploy_of(recovery), 2, 2, 2)
    assert found.update == UpdateProgress(state="completed")
    assert found.slots == {"1": SlotHistory(complete="y")}


NEWER = view("n1", "1", "2", revision=2)
WATCHED = {
    "one is fresher": (base(), [up(NEWER, LONG, 5.0)], ""),
    "one was not seen up": (base(), [up(NEWER, LONG, 0.0)], ""),
    "an agent does not tell": (base(), [NEWER], ""),
    "it is watched for longer": (base(UpdatePolicy(monitor=9.0)), [up(NEWER, LONG, LONG)], ""),
    "a slot's turn takes longer": (base(UpdatePolicy(delay=9.0)), [up(NEWER, LONG, LONG)], ""),
    "a slot lacks": (base(replicas=3), [up(NEWER, LONG, LONG)], ""),
    "a slot has an older one": (base(), [up(NEWER, LONG, LONG), up(view("n2", "3"), LONG)], ""),
    "an older one is beside it": (base(), [up(NEWER, LONG, LONG), up(view("n2", "2"), LONG)], ""),
    "a node is silent": (base(), [up(NEWER, LONG, LONG)], "n2"),
}


@pytest.mark.parametrize("case", WATCHED)
def test_what_is_watched_or_nobody_can_tell_of_is_a_deploy_of_which_nothing_is_known(case: str) -> None:
    changes, views, silent = WATCHED[case]
    recovery = plan(backup(**changes), *views, silent=silent)
    assert deploy_of(recovery) == 2
    assert progress(recovery) == BEFORE


@pytest.mark.parametrize(("monitor", "good"), [(5.0, 1), (9.0, 2)])
def test_what_all_slots_went_back_to_long_ago_is_good(monitor: float, good: int) -> None:
    """The words of the revision that is left count."""
    left = ServiceSpec(name="web", task=SPECS[2], rollback=UpdatePolicy(monitor=monitor))
    there = view("n1", "1", "2", revision=2).assignment
    assert there is not None
    changes = {
        **base(target=2, deploy=2),
        "revision__web__2": RevisionRecord(number=2, spec=left),
        "rollout__web": replace(BEFORE, deploy=2, revision=2, good=2),
        "desired__n1": there,
    }
    assert progress(plan(backup(**changes), up(view("n1", "1", "2"), LONG, LONG))).good == good


def test_a_paused_service_stays_held_at_what_its_progress_says() -> None:
    changes = base(paused=True) | {"rollout__web": replace(BEFORE, revision=2, replicas=2)}
    recovery = plan(backup(**changes), up(view("n1", "1", "2", revision=2), LONG, LONG))
    assert deploy_of(recovery) == 2
    assert progress(recovery) == changes["rollout__web"]


def test_the_backups_own_progress_stands_where_it_wants_what_runs() -> None:
    assert progress(plan(backup(**base()), up(view("n1", "1", "2"), LONG, LONG))) == BEFORE


def test_a_global_service_has_come_up_where_each_node_that_had_it_has_it() -> None:
    both = [replace(view(node, node, revision=2), up={f"{node}-{node}": LONG}) for node in ("n1", "n2")]
    there = {f"desired__{node}": view(node, node).assignment for node in ("n1", "n2")}
    changes = base(mode="global", replicas=1) | {key: each for key, each in there.items() if each is not None}
    assert progress(plan(backup(**changes), *both)).good == 2
    assert progress(plan(backup(**changes), both[0], view("n2"))) == BEFORE
