"""What a lost store is made anew of: pure plans from a backup and from what agents obey."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from meshctl.backup import check_backup, written_meanwhile
from meshctl.recovery import MARGIN, Found, Recovery, plan_recovery
from schemas.assignment import Applied, AssignedTask, Assignment
from schemas.backup import Backup, BackupHead, record_of
from schemas.errors import Refused
from schemas.network import AllocationRecord, NetworkRecord
from schemas.nodeapi import AssignmentView
from schemas.records import (
    EpochRecord,
    MeshRecord,
    NodeRecord,
    OrderRecord,
    RevisionRecord,
    RolloutRecord,
    ServiceRecord,
    StackRecord,
    UpdateProgress,
)
from schemas.spec import ContainerSpec, ServiceSpec, TaskSpec
from schemas.stacks import StackGoodRecord
from schemas.wire import Wire, decode, encode

SPECS = {n: TaskSpec(container=ContainerSpec(image=f"app:{n}")) for n in (1, 2)}


def backup(**changes: Wire) -> Backup:
    spec = ServiceSpec(name="web", task=SPECS[1], labels={"team": "a"})
    entries: dict[str, Wire] = {
        "mesh": MeshRecord(mesh_id="m", generation=3),
        "node.n1": NodeRecord(name="n1", instance="i-n1"),
        "service.web": ServiceRecord(name="web", target=1, replicas=2),
        "revision.web.1": RevisionRecord(number=1, spec=spec),
        "order.x": OrderRecord(id="x", kind="rebalance"),
        "election.epoch": EpochRecord(mesh_id="m", holder="c1", nonce="1"),
        "desired.n1": Assignment(node="n1", epoch=1, generation=3),
    }
    entries |= {key.replace("__", "."): value for key, value in changes.items()}
    records = tuple(record_of(key, encode(value), n, 1.0) for n, (key, value) in enumerate(entries.items(), start=1))
    return Backup(head=BackupHead(mesh_id="m", generation=3, sequence=500), records=records)


def view(
    node: str, *slots: str, revision: int = 1, service: str = "web", pair: tuple[int, int] = (3, 700)
) -> AssignmentView:
    spec = SPECS[revision]
    tasks = tuple(
        AssignedTask(id=f"{node}-{slot}", service=service, slot=slot, revision=revision, spec=spec.hash)
        for slot in slots
    )
    held = Assignment(node=node, epoch=1, generation=pair[0], tasks=tasks, specs={spec.hash: spec})
    applied = Applied(generation=pair[0], sequence=pair[1])
    return AssignmentView(node=node, instance=f"i-{node}", mesh_id="m", applied=applied, assignment=held)


def plan(
    base: Backup | None,
    *views: AssignmentView,
    silent: str = "",
    seen: dict[str, frozenset[str]] | None = None,
    rebuild: bool = True,
) -> Recovery:
    pairs = [each.applied.pair for each in views] or [(0, 0)]
    highest = (max(pair[0] for pair in pairs), max(pair[1] for pair in pairs))
    found = Found({each.node: each for each in views}, frozenset(silent.split()), seen or {}, highest)
    return plan_recovery(base, found, rebuild=rebuild, why="a test", now=9.0)


def stored(recovery: Recovery, key: str, kind: type) -> object:  # type: ignore[type-arg]
    return decode(next(record.value for record in recovery.records if record.key == key), kind)


def test_the_new_store_is_above_all_that_anybody_knows() -> None:
    recovery = plan(backup(), view("n1", "1", "2", pair=(4, 900)))
    assert recovery.mesh.generation == 5
    assert recovery.first_sequence == 900 + MARGIN


def test_what_agents_obey_is_assigned_again_under_the_new_generation() -> None:
    recovery = plan(backup(), view("n1", "1", "2"))
    assignment = stored(recovery, "desired.n1", Assignment)
    assert isinstance(assignment, Assignment)
    assert [task.id for task in assignment.tasks] == ["n1-1", "n1-2"]
    assert (assignment.generation, assignment.provisional) == (4, False)


def test_slots_that_a_silent_node_was_last_seen_to_run_count() -> None:
    recovery = plan(None, view("n1", "1", "2"), silent="n2", seen={"web": frozenset({"3", "4"})})
    service = stored(recovery, "service.web", ServiceRecord)
    assert isinstance(service, ServiceRecord)
    assert service.replicas == 4


def test_a_service_that_only_silent_nodes_ran_is_told() -> None:
    recovery = plan(None, view("n1", "1"), silent="n2", seen={"db": frozenset({"1"})})
    assert any("service db: only nodes that are silent now ran it" in warning for warning in recovery.warnings)


def test_a_silent_nodes_assignment_is_provisional() -> None:
    recovery = plan(backup(), silent="n1")
    assignment = stored(recovery, "desired.n1", Assignment)
    assert isinstance(assignment, Assignment)
    assert assignment.provisional
    assert any("n1 does not answer" in warning for warning in recovery.warnings)


def test_orders_reigns_and_the_mesh_record_are_not_carried_over() -> None:
    keys = {record.key for record in plan(backup(), view("n1", "1")).records}
    assert not keys & {"order.x", "election.epoch", "mesh", "brake", "events.cursor"}
    assert {"service.web", "revision.web.1", "node.n1"} <= keys


def test_newer_revisions_and_more_slots_are_rebuilt() -> None:
    recovery = plan(backup(), view("n1", "1", "2", "3", revision=2))
    service, revision = (
        stored(recovery, "service.web", ServiceRecord),
        stored(recovery, "revision.web.2", RevisionRecord),
    )
    assert isinstance(service, ServiceRecord)
    assert isinstance(revision, RevisionRecord)
    assert (service.target, service.replicas, service.deploy) == (2, 3, 2)
    assert revision.spec.task == SPECS[2]
    assert revision.spec.labels == {"team": "a"}


def test_at_its_word_a_backup_changes_nothing_of_the_intent_and_says_what_that_means() -> None:
    recovery = plan(backup(), view("n1", "1", "2", "3", revision=2), rebuild=False)
    service = stored(recovery, "service.web", ServiceRecord)
    assert service == ServiceRecord(name="web", target=1, replicas=2)
    assert any("3 slots, the backup wants 2" in warning for warning in recovery.warnings)
    assert any("runs revision 2" in warning for warning in recovery.warnings)


def test_a_service_that_no_backup_knows_is_rebuilt_from_its_tasks() -> None:
    recovery = plan(None, view("n1", "1", "3"), view("n2", "n2", service="edge"))
    web, edge = stored(recovery, "service.web", ServiceRecord), stored(recovery, "service.edge", ServiceRecord)
    assert isinstance(web, ServiceRecord)
    assert isinstance(edge, ServiceRecord)
    assert (web.mode, web.replicas, web.target) == ("replicated", 2, 1)
    assert edge.mode == "global"
    assert isinstance(stored(recovery, "node.n2", NodeRecord), NodeRecord)


def test_progress_with_what_the_store_does_not_know_is_left_out_and_told() -> None:
    """A rolled-back store took the next round of its leader: it would pass for progress of the next one of the name."""
    late: dict[str, Wire] = {
        "rollout__web": RolloutRecord(service="web", deploy=1, revision=1),
        "rollout__edge": RolloutRecord(service="edge", deploy=1, revision=1, update=UpdateProgress(state="paused")),
        "stack__shop": StackRecord(name="shop"),
        "stackgood__shop": StackGoodRecord(stack="shop", good=(1,)),
        "stackgood__other": StackGoodRecord(stack="other", good=(1,)),
    }
    recovery = plan(backup(**late), view("n1", "1", "2"))
    keys = {record.key for record in recovery.records}
    assert {"rollout.web", "stackgood.shop"} <= keys
    assert not {"rollout.edge", "stackgood.other"} & keys
    assert any("service edge: only how far it had come is left" in warning for warning in recovery.warnings)

    rebuilt = plan(backup(**late), view("n1", "1", "2"), view("n2", "1", service="edge"))
    keys = {record.key for record in rebuilt.records}
    assert "service.edge" in keys
    assert "rollout.edge" not in keys
    assert not any("only how far" in warning for warning in rebuilt.warnings)


def test_progress_with_a_later_deploy_than_the_store_knows_is_left_out() -> None:
    """The next deploy gets that number: it would be done before it began."""
    late: dict[str, Wire] = {
        "service__web": ServiceRecord(name="web", target=1, replicas=2, deploy=4),
        "service__edge": ServiceRecord(name="edge", target=1, replicas=2, deploy=4),
        "rollout__web": RolloutRecord(service="web", deploy=5, revision=2, phase="done", good=2),
        "rollout__edge": RolloutRecord(service="edge", deploy=4, revision=1, phase="done", good=1),
        "stack__shop": StackRecord(name="shop", revision=2),
        "stackgood__shop": StackGoodRecord(stack="shop", good=(1, 3)),
        "stack__other": StackRecord(name="other", revision=2),
        "stackgood__other": StackGoodRecord(stack="other", good=(1, 2)),
    }
    keys = {record.key for record in plan(backup(**late), view("n1", "1", "2")).records}
    assert {"rollout.edge", "stackgood.other"} <= keys
    assert not {"rollout.web", "stackgood.shop"} & keys


def test_a_network_of_the_backup_stays_as_it_is_wanted_whatever_was_allotted_since() -> None:
    """Its labels were lost."""
    network = NetworkRecord(name="net", labels={"team": "a"}, internal=True)
    allotted = AllocationRecord(network="net", vni=1003, subnet="10.192.0.0/16", vips="10.192.224.0/19")
    shown = replace(view("n1", "1", "2"), allocations={"net": allotted}, allotted={"net": 900}, networks_known=900)
    recovery = plan(backup(network__net=network), shown)
    assert stored(recovery, "network.net", NetworkRecord) == network
    assert stored(recovery, "alloc.net", AllocationRecord) == allotted
    assert not any("labels" in warning for warning in recovery.warnings)


def test_a_store_that_grew_past_what_was_lost_of_it_knows_no_better_than_agents_what_was_allotted() -> None:
    """Rolled back, it took one more round: its end is above what agents hold, though it has none of that."""
    older = AllocationRecord(network="net", vni=1003, subnet="10.192.0.0/16", services={"web": "10.192.224.1"})
    newer = replace(older, services={"other": "10.192.224.1", "web": "10.192.224.2"})
    shown = replace(view("n1", "1", "2"), allocations={"net": newer}, allotted={"net": 450}, networks_known=450)
    base = backup(network__net=NetworkRecord(name="net"), alloc__net=older)
    assert stored(plan(base, shown), "alloc.net", AllocationRecord) == newer


def test_an_allotment_that_another_network_has_by_now_is_left_out() -> None:
    gone = AllocationRecord(network="old", vni=1003, subnet="10.192.0.0/16", vips="10.192.224.0/19")
    shown = replace(view("n1", "1"), allocations={"net": replace(gone, network="net")}, allotted={"net": 900})
    keys = {each.key for each in plan(backup(network__old=NetworkRecord(name="old"), alloc__old=gone), shown).records}
    assert {"network.old", "alloc.net"} <= keys
    assert "alloc.old" not in keys


def without_revision(**changes: Wire) -> Backup:
    whole = backup(**changes)
    return Backup(head=whole.head, records=tuple(record for record in whole.records if record.key != "revision.web.1"))


def test_a_revision_that_the_backup_lacks_is_rebuilt_from_the_tasks_that_run_it() -> None:
    recovery = plan(without_revision(), view("n1", "1", "2"))
    revision = stored(recovery, "revision.web.1", RevisionRecord)
    assert isinstance(revision, RevisionRecord)
    assert revision.spec.task == SPECS[1]
    assert stored(recovery, "service.web", ServiceRecord) == ServiceRecord(name="web", target=1, replicas=2)
    told = "service web: labels and update policy are lost; deploy its stack again to have them back"
    assert recovery.warnings == (told,)


@pytest.mark.parametrize("rebuild", [True, False])
def test_a_service_whose_revision_nobody_knows_is_told_and_not_that_it_will_be_started(*, rebuild: bool) -> None:
    told = "service web: its revision 1 is not in the backup, and no node shows it; deploy it again"
    assert plan(without_revision(), view("n1"), rebuild=rebuild).warnings == (told,)
    newer = plan(without_revision(), view("n1", "1", "2", revision=2))
    assert told not in newer.warnings
    gone = without_revision(service__web=ServiceRecord(name="web", target=1, removed=True))
    assert plan(gone, view("n1"), rebuild=rebuild).warnings == ()


def test_another_meshs_backup_is_refused_and_so_is_a_mesh_that_nobody_names() -> None:
    with pytest.raises(Refused, match="of mesh m"):
        plan_recovery(backup(), Found(mesh_id="other"), rebuild=True, why="", now=0.0)
    with pytest.raises(Refused, match="not known which mesh"):
        plan_recovery(None, Found(), rebuild=True, why="", now=0.0)


def test_a_backup_whose_records_do_not_fit_is_told() -> None:
    assert check_backup(backup()).problems == ()
    unreadable = replace(backup(), records=(*backup().records, record_of("network.net", b"[", 9, 1.0)))
    assert [problem.partition(":")[0] for problem in check_backup(unreadable).problems] == ["network.net"]
    problems = check_backup(backup(service__web=ServiceRecord(name="web", target=7))).problems
    assert problems == ("service.web: its revision 7 is not there",)


def test_wishes_that_reach_the_store_after_the_look_are_told_and_the_leaders_progress_is_not() -> None:
    head = BackupHead(mesh_id="m", generation=1, sequence=9)
    old = (record_of("service.web", b"1", 1, 0.0), record_of("rollout.web", b"1", 2, 0.0))
    new = (record_of("service.web", b"2", 8, 0.0), record_of("rollout.web", b"7", 9, 0.0))
    more = (*old, record_of("secret.key.abc", b"1", 9, 0.0))
    before = Backup(head=head, records=old)
    assert written_meanwhile(before, before) == ()
    assert written_meanwhile(before, Backup(head=head, records=(old[0], new[1]))) == ()
    assert written_meanwhile(before, Backup(head=head, records=new)) == ("service.web",)
    assert written_meanwhile(before, Backup(head=head, records=more)) == ("secret.key.abc",)
    assert written_meanwhile(before, None) == ("service.web",)
    assert written_meanwhile(None, None) == ()
