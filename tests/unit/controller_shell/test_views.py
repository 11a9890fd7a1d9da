"""Records as people see them."""

from __future__ import annotations

from bus.port import Entry
from controller import task_views, views
from controller.changes import DropRollout, PutAssignment, PutBrake, PutLiveness, PutRollout
from controller.committing import writes_of
from controller.highest import Highest, refusal
from controller.records import Records
from controller.world import Stored
from schemas.assignment import AssignedTask, Assignment
from schemas.network import Publication, PublishRecord
from schemas.observation import EndedTask, NodeFacts, Observation, ObservedTask, TaskState
from schemas.records import (
    BrakeRecord,
    LivenessRecord,
    NodeRecord,
    Reason,
    RevisionRecord,
    RolloutRecord,
    ServiceRecord,
    SlotHistory,
)
from schemas.spec import ContainerSpec, Mount, Resources, ServiceSpec, TaskSpec
from schemas.taskapi import ListTasks, TaskView
from schemas.wire import Wire, encode

TASK = TaskSpec(
    container=ContainerSpec(image="app:1", mounts=(Mount(kind="volume", source="data", target="/d"),)),
    reservations=Resources(cpus=0.5, memory=100),
)


def assigned(id_: str, slot: str, **more: object) -> AssignedTask:
    return AssignedTask(id=id_, service="web", slot=slot, revision=1, spec=TASK.hash, why="fits", **more)  # type: ignore[arg-type]


def observed(id_: str, slot: str, state: TaskState = "running", **more: object) -> ObservedTask:
    return ObservedTask(id=id_, service="web", slot=slot, revision=1, spec=TASK.hash, state=state, **more)  # type: ignore[arg-type]


def observation(node: str, *tasks: ObservedTask) -> Observation:
    facts = NodeFacts(cpus=4, memory=1000)
    return Observation(
        node=node, instance="i", boot="b", counter=1, tasks=tasks, volumes=("data", "other"), facts=facts
    )


def a_mesh() -> tuple[Records, dict[str, Observation]]:
    """Service web wants 4 slots: two run on n1 and n2 (down), one has failed before, one waits."""
    ended = EndedTask(id="0-9", node="n1", revision=1, state="failed", at=5.0, exit_code=3, error="exit code 3")
    kept: list[tuple[str, Wire]] = [
        ("service.web", ServiceRecord(name="web", target=1, replicas=4)),
        ("revision.web.1", RevisionRecord(number=1, spec=ServiceSpec(name="web", task=TASK))),
        ("node.n1", NodeRecord(name="n1", instance="i", labels={"zone": "eu"})),
        ("node.n2", NodeRecord(name="n2", instance="i")),
        ("node.n3", NodeRecord(name="n3", instance="i", removed=True)),
        ("liveness.n1", LivenessRecord(node="n1", verdict="ready")),
        ("liveness.n2", LivenessRecord(node="n2", verdict="down", since=12.0, why="not heard")),
        ("desired.n1", Assignment(node="n1", epoch=1, tasks=(assigned("1-1", "1"),), specs={TASK.hash: TASK})),
        ("desired.n2", Assignment(node="n2", epoch=1, tasks=(assigned("1-2", "2"),), specs={TASK.hash: TASK})),
        (
            "rollout.web",
            RolloutRecord(
                service="web",
                wanted=4,
                intent=1,
                reasons=(Reason(text="3 nodes: 3 lack memory", count=1), Reason(text="volume data is on n2", count=1)),
                slots={"1": SlotHistory(ended=(ended,)), "4": SlotHistory(complete=TASK.hash)},
            ),
        ),
    ]
    records = Records()
    for sequence, (key, record) in enumerate(kept, start=1):
        records.apply(Entry(key, encode(record), sequence, 0.0))
    observations = {
        "n1": observation("n1", observed("1-1", "1", container="c1", since=7.0), observed("stray", "9")),
        "n2": observation("n2", observed("1-2", "2")),
    }
    return records, observations


def row(view: TaskView) -> tuple[str, str, str, str, bool]:
    return (view.slot, view.id, view.state, view.desired, view.current)


def test_a_service_is_told_with_the_ports_that_it_was_given() -> None:
    records, observations = a_mesh()
    ports = tuple(
        Publication(published=number, target=80, service=name, network="front")
        for number, name in ((8000, "api"), (8001, "web"), (30_000, "web"))
    )
    records.apply(Entry("endpoints.publish", encode(PublishRecord(ports=ports)), 99, 0.0))
    assert [port.published for port in views.service_view(records, observations, "web").published] == [8001, 30_000]


def test_a_service_lists_each_slot_with_its_task_its_history_and_what_it_waits_for() -> None:
    records, observations = a_mesh()
    listed = task_views.listed(records, observations, ListTasks(service="web"))
    assert [row(view) for view in listed] == [
        ("1", "1-1", "running", "running", True),
        ("1", "0-9", "failed", "shutdown", False),
        ("2", "", "pending", "running", True),
        ("2", "1-2", "lost", "running", False),
        ("3", "", "pending", "running", True),
        ("9", "stray", "running", "shutdown", False),
    ], "slot 4 has done its work and waits for nothing"
    assert [view.why for view in listed if view.state == "pending"] == [
        "3 nodes: 3 lack memory",
        "volume data is on n2",
    ]
    assert (listed[0].container, listed[0].since, listed[0].image) == ("c1", 7.0, "app:1")
    verdict = records.liveness["n2"]
    assert [view.since for view in listed if view.state == "lost"] == [verdict.since]
    assert (listed[1].exit_code, listed[1].error) == (3, "exit code 3")


def test_waiting_slots_are_those_that_the_leader_names_each_with_its_own_time() -> None:
    records, observations = a_mesh()
    rollout = RolloutRecord(service="web", wanted=3, intent=11, since=2.0, waiting={"7": 9.0})
    later = [("service.web", ServiceRecord(name="web", target=1, replicas=3)), ("rollout.web", rollout)]
    more = Assignment(node="n1", epoch=1, tasks=(assigned("1-1", "1"), assigned("1-6", "6")), specs={TASK.hash: TASK})
    later.append(("desired.n1", more))
    for sequence, (key, record) in enumerate(later, start=100):
        records.apply(Entry(key, encode(record), sequence, 0.0))
    listed = task_views.listed(records, observations, ListTasks(service="web", ended=False))
    assert [(view.slot, view.since) for view in listed if view.state == "pending"] == [("7", 9.0)]
    fewer = ServiceRecord(name="web", target=1, replicas=2)
    records.apply(Entry("service.web", encode(fewer), 200, 0.0))
    listed = task_views.listed(records, observations, ListTasks(service="web"))
    assert not [view for view in listed if view.state == "pending"], "slots 1 and 6 are what was kept"


def test_history_is_left_out_and_nodes_are_filtered_on_demand() -> None:
    records, observations = a_mesh()
    listed = task_views.listed(records, observations, ListTasks(node="n2", ended=False))
    assert [view.id for view in listed] == ["1-2"]
    assert task_views.listed(records, observations, ListTasks(stack="none")) == []


def test_a_node_shows_what_it_holds_and_removed_ones_are_not_shown() -> None:
    records, observations = a_mesh()
    first, second = views.node_views(records, observations)
    assert (first.node, first.status, first.tasks, first.running) == ("n1", "ready", 1, 2)
    assert (first.reserved_cpus, first.reserved_memory, first.facts.cpus) == (0.5, 100, 4)
    assert (second.node, second.status, second.why) == ("n2", "down", "not heard")


def test_volumes_name_the_services_that_use_them() -> None:
    records, observations = a_mesh()
    listed = views.volume_views(records, observations)
    found = [(view.name, view.node, view.services, view.node_status) for view in listed]
    assert found == [
        ("data", "n1", ("web",), "ready"),
        ("other", "n1", (), "ready"),
        ("data", "n2", ("web",), "down"),
        ("other", "n2", (), "down"),
    ]


def test_the_status_counts_what_is_heard_wanted_and_running() -> None:
    records, observations = a_mesh()
    heads = views.Heads(leader="c1", controllers=(), rounds=3, version="1", reasons=())
    seen = views.status(records, observations, heads)
    assert (seen.nodes, seen.nodes_ready, seen.services, seen.services_converged) == (2, 1, 1, 0)
    assert (seen.tasks_running, seen.tasks_wanted, seen.rounds) == (2, 4, 3)
    assert [reason.text for reason in seen.reasons] == ["web: 3 nodes: 3 lack memory", "web: volume data is on n2"]


def test_a_service_whose_target_revision_is_missing_is_still_shown() -> None:
    records, observations = a_mesh()
    records.apply(Entry("revision.web.1", None, 99, 0.0))
    assert views.service_view(records, observations, "web").spec.task.container.image == ""
    assert views.service_list(records, observations).services[0].running == 2


def test_a_rounds_writes_come_in_an_order_in_which_every_prefix_is_safe() -> None:
    stands = Assignment(node="n1", epoch=1, tasks=(assigned("1-1", "1"),))
    changes = (
        DropRollout("gone"),
        PutAssignment("n2", Assignment(node="n2", epoch=1, tasks=(assigned("1-2", "1"),))),
        PutAssignment("n1", Assignment(node="n1", epoch=1)),
        PutRollout(RolloutRecord(service="web")),
        PutLiveness(LivenessRecord(node="n1", verdict="ready")),
        PutLiveness(LivenessRecord(node="n2", verdict="down")),
    )
    order = ["liveness.n2", "rollout.web", "desired.n1", "desired.n2", "liveness.n1", "rollout.gone"]
    engaged, released = (PutBrake(BrakeRecord(engaged=engaged)) for engaged in (True, False))
    for brake, keys in ((engaged, ["brake", *order]), (released, [*order[:-1], "brake", order[-1]])):
        assert [write.key for write in writes_of((*changes, brake), {"n1": Stored(stands, 1)})] == keys


def test_a_store_that_lost_what_is_remembered_may_not_be_led() -> None:
    remembered = Highest(mesh_id="m1", generation=2, sequence=50)
    assert refusal(Highest(), remembered) == ""
    assert refusal(remembered, Highest(mesh_id="m1", generation=2, sequence=50)) == ""
    assert refusal(remembered, Highest(mesh_id="m1", generation=3, sequence=1)) == ""
    assert refusal(remembered, Highest(mesh_id="m1", generation=2, sequence=49)).startswith("store.rolled_back")
    assert refusal(remembered, Highest(mesh_id="m1", generation=1, sequence=99)).startswith("store.rolled_back")
    assert refusal(remembered, Highest(mesh_id="m2", generation=9, sequence=99)).startswith("store.foreign")
