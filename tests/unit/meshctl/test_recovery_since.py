"""What agents obey goes before an older backup: what was done since stands when a store is made anew."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from schemas.nodeapi import AssignmentView
from schemas.records import (
    LivenessRecord,
    NodeRecord,
    RevisionRecord,
    RolloutRecord,
    ServiceRecord,
)
from schemas.spec import ServiceSpec
from schemas.wire import Wire
from tests.unit.meshctl.test_recovery_plans import SPECS, backup, plan, stored, view


def test_with_a_silent_node_the_highest_slot_counts() -> None:
    recovery = plan(None, view("n1", "1", "3"), silent="n2")
    web = stored(recovery, "service.web", ServiceRecord)
    assert isinstance(web, ServiceRecord)
    assert web.replicas == 3


def test_a_silent_node_makes_no_more_replicas_of_slots_that_the_backup_knows() -> None:
    """Slots keep their numbers when others are scaled away: the last one of a database may be the fifth."""
    there = view("n1", "2", "5").assignment
    assert there is not None
    recovery = plan(backup(desired__n1=there), view("n1", "2", "5"), silent="n2")
    assert stored(recovery, "service.web", ServiceRecord) == ServiceRecord(name="web", target=1, replicas=2)
    more = stored(plan(backup(desired__n1=there), view("n1", "2", "5", "6"), silent="n2"), "service.web", ServiceRecord)
    assert isinstance(more, ServiceRecord)
    assert more.replicas == 6


@pytest.mark.parametrize(
    ("replicas", "held_at", "paused"),
    [(2, (1, 2), True), (2, (1, 1), False), (3, (1, 2), True), (4, (1, 1), False), (2, None, False)],
)
def test_a_paused_service_that_has_more_than_it_is_held_at_has_gone_on_since(
    replicas: int, held_at: tuple[int, int] | None, *, paused: bool
) -> None:
    """It would be taken back to that: what runs beyond would end."""
    changes: dict[str, Wire] = {"service__web": ServiceRecord(name="web", target=1, replicas=replicas, paused=True)}
    if held_at is not None:
        revision, replicas = held_at
        changes["rollout__web"] = RolloutRecord(service="web", deploy=1, revision=revision, replicas=replicas)
    service = stored(plan(backup(**changes), view("n1", "1", "2")), "service.web", ServiceRecord)
    assert isinstance(service, ServiceRecord)
    assert service.paused == paused


@pytest.mark.parametrize("known", [True, False])
def test_a_later_revision_in_some_slots_is_a_canary_and_the_others_keep_what_they_run(*, known: bool) -> None:
    recovery = plan(backup() if known else None, view("n1", "1", "2"), view("n2", "3", revision=2))
    service = stored(recovery, "service.web", ServiceRecord)
    assert isinstance(service, ServiceRecord)
    assert (service.target, service.replicas, service.canary) == (2, 3, 1)
    assert {"revision.web.1", "revision.web.2"} <= {record.key for record in recovery.records}
    told = "service web: 1 of 3 slots run revision 2, the others keep what they run: "
    assert f"{told}meshctl service promote web, or abort web" in recovery.warnings


def test_a_service_that_was_deployed_anew_since_the_backup_is_what_runs() -> None:
    """Its revisions are counted from 1 again."""
    old = ServiceSpec(name="web", task=SPECS[2])
    changes: dict[str, Wire] = {
        "service__web": ServiceRecord(name="web", target=5, replicas=7, deploy=9, paused=True),
        "revision__web__1": RevisionRecord(number=1, spec=old),
        "revision__web__5": RevisionRecord(number=5, spec=old),
        "rollout__web": RolloutRecord(service="web", deploy=9, revision=5, good=5),
    }
    recovery = plan(backup(**changes), view("n1", "1", "2"))
    service, revision = (
        stored(recovery, "service.web", ServiceRecord),
        stored(recovery, "revision.web.1", RevisionRecord),
    )
    assert isinstance(service, ServiceRecord)
    assert isinstance(revision, RevisionRecord)
    assert (service.target, service.replicas, service.deploy, service.paused) == (1, 2, 10, False)
    assert revision.spec.task == SPECS[1]
    assert "rollout.web" not in {record.key for record in recovery.records}


def test_a_service_that_was_being_removed_stands_again_only_where_it_has_tasks_that_the_backup_does_not_know() -> None:
    there = view("n1", "1", "2").assignment
    assert there is not None
    gone = backup(service__web=ServiceRecord(name="web", target=1, deploy=4, removed=True), desired__n1=there)
    still = stored(plan(gone, view("n1", "1", "2")), "service.web", ServiceRecord)
    anew = stored(plan(gone, view("n1", "1", "2"), view("n2", "3")), "service.web", ServiceRecord)
    assert isinstance(still, ServiceRecord)
    assert isinstance(anew, ServiceRecord)
    assert still.removed
    assert (anew.removed, anew.replicas, anew.deploy) == (False, 3, 5)


@pytest.mark.parametrize(("held_at", "silent", "target"), [(2, "", 1), (2, "n2", 1), (1, "", 2)])
def test_a_service_that_went_back_since_the_backup_stays_there(held_at: int, silent: str, target: int) -> None:
    """Also where a silent node is not known to have; not where its progress holds it there anyway."""
    later = {node: view(node, slot, revision=2).assignment for node, slot in (("n1", "1"), ("n2", "2"))}
    changes: dict[str, Wire] = {
        "service__web": ServiceRecord(name="web", target=2, replicas=2, deploy=2),
        "revision__web__2": RevisionRecord(number=2, spec=ServiceSpec(name="web", task=SPECS[2])),
        "rollout__web": RolloutRecord(service="web", deploy=2, revision=held_at),
        **{f"desired__{node}": each for node, each in later.items() if each is not None},
    }
    views = [view("n1", "1")] if silent else [view("n1", "1"), view("n2", "2")]
    service = stored(plan(backup(**changes), *views, silent=silent), "service.web", ServiceRecord)
    assert isinstance(service, ServiceRecord)
    assert (service.target, service.back_from) == ((1, 2) if target == 1 else (2, 0))


def test_a_deploy_that_had_not_reached_any_node_goes_on() -> None:
    there = view("n1", "1", "2").assignment
    assert there is not None
    wanted = ServiceRecord(name="web", target=2, replicas=2, deploy=2)
    changes: dict[str, Wire] = {
        "service__web": wanted,
        "revision__web__2": RevisionRecord(number=2, spec=ServiceSpec(name="web", task=SPECS[2])),
        "desired__n1": there,
    }
    assert stored(plan(backup(**changes), view("n1", "1", "2")), "service.web", ServiceRecord) == wanted


@pytest.mark.parametrize(("instance", "sequence", "is_member"), [("i-old", 700, True), ("i-old", 1, False)])
def test_a_name_that_another_agent_has_by_now_is_its(instance: str, sequence: int, *, is_member: bool) -> None:
    """But not that of an agent which was displaced, and obeys nothing since."""
    old = NodeRecord(name="n1", instance=instance, availability="drain", labels={"zone": "a"})
    shown = replace(view("n1", "1", "2", pair=(3, sequence)), labels={"zone": "b"})
    for rebuild in (True, False):
        recovery = plan(backup(node__n1=old), shown, rebuild=rebuild)
        node = stored(recovery, "node.n1", NodeRecord)
        assert isinstance(node, NodeRecord)
        assert node.instance == ("i-n1" if is_member else instance)
        assert node.labels == {"zone": "b" if is_member else "a"}
        assert len({record.key for record in recovery.records}) == len(recovery.records)


@pytest.mark.parametrize(("slots", "rebuild", "used"), [("1 2", True, True), ("1", True, False), ("1 2", False, False)])
def test_a_node_that_has_got_tasks_since_it_was_drained_is_in_use(slots: str, *, rebuild: bool, used: bool) -> None:
    there = view("n1", "1").assignment
    assert there is not None
    drained = NodeRecord(name="n1", instance="i-n1", availability="drain", force=True, labels={"zone": "a"})
    base = backup(node__n1=drained, desired__n1=there)
    node = stored(plan(base, view("n1", *slots.split()), rebuild=rebuild), "node.n1", NodeRecord)
    assert node == (replace(drained, availability="active", force=False) if used else drained)


@pytest.mark.parametrize("rebuild", [True, False])
def test_a_node_that_answers_is_not_down_whatever_the_backup_says(*, rebuild: bool) -> None:
    dead = LivenessRecord(node="n1", verdict="down", ended=True)
    base = backup(
        liveness__n1=dead,
        liveness__n2=replace(dead, node="n2"),
        liveness__n3=LivenessRecord(node="n3", verdict="ready"),
    )
    keys = {record.key for record in plan(base, view("n1", "1"), view("n3", "2"), silent="n2", rebuild=rebuild).records}
    assert {"liveness.n2", "liveness.n3"} <= keys
    assert "liveness.n1" not in keys


def test_what_an_agent_that_was_away_still_obeys_is_not_wanted_where_its_slot_has_a_younger_task() -> None:
    """Its service was rolled back while its machine was off: the revision that was left is not deployed once more."""
    away, held = view("n2", "3", revision=2), view("n1", "1", "2", "3")
    recovery = plan(backup(), renamed(away, "5-b"), renamed(held, "5-1i", "5-1j", "5-1k"))
    service = stored(recovery, "service.web", ServiceRecord)
    assert service == ServiceRecord(name="web", target=1, replicas=3, change="scaled", updated_at=9.0)
    younger = plan(backup(), renamed(away, "5-1l"), renamed(held, "5-1i", "5-1j", "5-1k"))
    service = stored(younger, "service.web", ServiceRecord)
    assert isinstance(service, ServiceRecord)
    assert (service.target, service.canary) == (2, 1)


def renamed(told: AssignmentView, *ids: str) -> AssignmentView:
    assert told.assignment is not None
    tasks = tuple(replace(task, id=id_) for task, id_ in zip(told.assignment.tasks, ids, strict=True))
    return replace(told, assignment=replace(told.assignment, tasks=tasks))
