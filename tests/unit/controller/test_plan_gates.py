"""depends_on in the plan: what waits for what, at a deploy and after failures, told and never ended."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.api.dependents import check_circles, dragged
from controller.explain import explain
from controller.records import Records
from schemas.errors import Refused
from schemas.serviceapi import ServiceDeploy
from schemas.spec import Dependency, RestartPolicy, ServiceSpec, UpdatePolicy
from tests.unit.controller.model import Mesh, service_spec, three_nodes

JOB = RestartPolicy(condition="none")


def waiting(
    name: str, *others: str, image: str = "web:1", condition: str = "service_healthy", **more: Any
) -> ServiceSpec:
    """A service that depends on `others`."""
    options = {key: more.pop(key) for key in ("required", "restart_too") if key in more}
    spec = service_spec(name, image=image, **more)
    needs = tuple(
        Dependency(
            service=other,
            condition=condition,  # type: ignore[arg-type]
            required=options.get("required", True),
            restart=options.get("restart_too", False),
        )
        for other in others
    )
    return msgspec.structs.replace(spec, depends_on=needs, update=UpdatePolicy(monitor=0.0))


def change(mesh: Mesh, service: str, **changes: Any) -> None:
    """All live tasks of a service are seen otherwise."""
    for agent in mesh.agents.values():
        for id_, task in agent.tasks.items():
            if task.service == service and not task.ended:
                agent.tasks[id_] = msgspec.structs.replace(task, **changes)


def ended(mesh: Mesh, service: str, code: int) -> None:
    change(mesh, service, state="failed" if code else "exited", exit_code=code, ran=1.0)


@pytest.mark.parametrize(
    ("condition", "shown", "opens"),
    [
        ("service_started", {"state": "starting"}, False),
        ("service_started", {"state": "running", "health": "unhealthy"}, True),
        ("service_healthy", {"state": "running", "health": "starting"}, False),
        ("service_healthy", {"state": "running", "health": "healthy"}, True),
        ("service_completed_successfully", {"state": "running"}, False),
        ("service_completed_successfully", {"state": "failed", "exit_code": 3, "error": "exit code 3"}, False),
        ("service_completed_successfully", {"state": "exited", "exit_code": 0}, True),
        ("service_started", {"state": "exited", "exit_code": 0}, True),
    ],
)
def test_a_task_is_made_once_what_it_depends_on_has_got_so_far(
    condition: str, shown: dict[str, Any], opens: bool
) -> None:
    mesh = three_nodes()
    for agent in mesh.agents.values():
        agent.slow = True
    mesh.deploy(service_spec("db", restart=JOB))
    mesh.deploy(waiting("web", "db", condition=condition), 2)
    mesh.step()
    assert mesh.assigned() == {}
    change(mesh, "db", **shown)
    mesh.step()
    mesh.step()
    assert len(mesh.assigned()) == (2 if opens else 0)


def test_what_waits_is_told_with_its_reason() -> None:
    mesh = three_nodes()
    for agent in mesh.agents.values():
        agent.slow = True
    mesh.deploy(service_spec("db"), 3)
    mesh.deploy(waiting("web", "db"), 2)
    mesh.step()
    assert mesh.reasons() == {"waits for db to be healthy (0 of 3)": 2}
    assert explain(mesh.world(), "web", mesh.now) == dict.fromkeys("12", "waits for db to be healthy (0 of 3)")
    assert mesh.rollouts["web"].phase == "converging"


def test_a_job_that_failed_is_told_by_those_that_wait_for_it() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec("job", restart=JOB))
    mesh.deploy(waiting("web", "job", condition="service_completed_successfully"))
    mesh.step()
    change(mesh, "job", state="failed", exit_code=3, error="exit code 3", ran=1.0)
    mesh.settle()
    assert mesh.reasons() == {"waits for job to complete (0 of 1), which failed: exit code 3": 1}
    assert mesh.rollouts["job"].phase == "failed"


def test_a_job_that_completed_is_done_and_opens_the_gate_in_the_same_round() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec("job", restart=JOB))
    mesh.deploy(waiting("web", "job", condition="service_completed_successfully"))
    mesh.step()
    ended(mesh, "job", 0)
    mesh.step()
    assert len(mesh.assigned()) == 1
    mesh.settle()
    assert (mesh.rollouts["job"].phase, mesh.rollouts["job"].complete) == ("done", 1)


def stands(mesh: Mesh) -> None:
    mesh.deploy(service_spec("db"), 2)
    mesh.deploy(waiting("web", "db"), 2)
    mesh.run(20)
    assert len(mesh.running()) == 2


def test_nothing_that_runs_is_stopped_because_its_dependency_fell() -> None:
    mesh = three_nodes()
    stands(mesh)
    before = mesh.assigned()
    change(mesh, "db", health="starting")
    mesh.run(5)
    mesh.change_service("db", removed=True)
    mesh.run(5)
    assert mesh.assigned() == before
    assert len(mesh.running()) == 2


def test_after_a_failure_one_that_is_up_is_enough_and_none_is_not() -> None:
    mesh = three_nodes()
    stands(mesh)
    node = mesh.running("db")["1"]
    mesh.agents[node].tasks.update(
        {
            id_: msgspec.structs.replace(task, health="starting")
            for id_, task in mesh.agents[node].tasks.items()
            if task.service == "db" and task.slot == "1"
        }
    )
    mesh.fail(mesh.running()["1"])
    mesh.run(5)
    assert len(mesh.running()) == 2, "one db is healthy"
    change(mesh, "db", health="starting")
    mesh.fail(mesh.running()["1"])
    mesh.run(5)
    assert list(mesh.running()) == ["2"]
    assert mesh.reasons() == {"waits for db to be healthy (0 of 1)": 1}
    change(mesh, "db", health="healthy")
    mesh.run(5)
    assert len(mesh.running()) == 2


@pytest.mark.parametrize("stop_after", [0.0, 5.0])
def test_a_task_on_a_drained_node_runs_on_until_what_its_next_one_depends_on_is_there(stop_after: float) -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec("db"), 2)
    web = waiting("web", "db")
    mesh.deploy(msgspec.structs.replace(web, task=msgspec.structs.replace(web.task, stop_after=stop_after)), 2)
    mesh.run(20)
    before, left = mesh.running(), mesh.running()["1"]
    change(mesh, "db", health="starting")
    mesh.change_node(left, availability="drain")
    mesh.run(10)
    assert mesh.running() == before
    waits = f"stays on node {left}, which is drained: waits for db to be healthy (0 of 1)"
    assert mesh.reasons()[waits] == 1
    change(mesh, "db", health="healthy")
    mesh.run(20)
    assert len(mesh.running()) == 2
    assert left not in mesh.running().values()


@pytest.mark.parametrize("order", ["stop-first", "start-first"])
def test_both_changed_the_old_task_stays_until_the_new_dependency_is_there(order: str) -> None:
    mesh = three_nodes()
    stands(mesh)
    for agent in mesh.agents.values():
        agent.slow = True
    update = UpdatePolicy(monitor=0.0, order=order)  # type: ignore[arg-type]
    mesh.deploy(service_spec("db", image="db:2"), 2)
    mesh.deploy(msgspec.structs.replace(waiting("web", "db", image="web:2"), update=update, progress_deadline=30.0), 2)
    mesh.run(60)
    assert len(mesh.running()) == 2
    assert all("keeps its task of revision 1: waits for db to be healthy" in reason for reason in mesh.reasons())
    assert mesh.rollouts["web"].phase == "converging", "waiting is no lack of progress"
    for agent in mesh.agents.values():
        agent.slow = False
    mesh.run(60)
    assert (mesh.rollouts["db"].phase, mesh.rollouts["web"].phase) == ("done", "done")
    assert mesh.rollouts["web"].updated == 2


def test_one_that_is_not_required_is_not_waited_for_once_it_has_failed_or_is_gone() -> None:
    mesh = three_nodes()
    mesh.deploy(waiting("web", "db", required=False))
    mesh.deploy(waiting("api", "job", condition="service_completed_successfully", required=False))
    mesh.deploy(service_spec("job", restart=JOB))
    mesh.step()
    assert len(mesh.assigned("web")) == 1
    assert mesh.assigned("api") == {}
    change(mesh, "job", state="failed", exit_code=1, ran=1.0)
    mesh.run(5)
    assert len(mesh.running("api")) == 1


def test_a_dependency_that_is_not_there_or_has_no_replicas() -> None:
    mesh = three_nodes()
    mesh.deploy(waiting("web", "db"))
    mesh.deploy(waiting("api", "none"))
    mesh.deploy(service_spec("none"), 0)
    mesh.step()
    assert mesh.reasons() == {"waits for db, which is not there": 1}
    assert len(mesh.assigned("api")) == 1


def test_services_in_a_circle_are_refused_and_if_they_come_to_stand_only_wait() -> None:
    circle = [waiting("a", "b"), waiting("b", "c"), waiting("c", "a"), waiting("d", "a")]
    with pytest.raises(Refused, match="in a circle: a, b, c, d"):
        check_circles(circle)
    check_circles(circle[:1])
    mesh = three_nodes()
    for spec in circle:
        mesh.deploy(spec)
    mesh.settle()
    assert mesh.reasons("a") == {"waits for b to be healthy (0 of 1)": 1}
    assert mesh.reasons("c") == {"waits for a, which waits for it": 1}


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    edges=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=8),
    conditions=st.lists(
        st.sampled_from(["service_started", "service_healthy", "service_completed_successfully"]),
        min_size=5,
        max_size=5,
    ),
    fall=st.lists(st.tuples(st.integers(0, 4), st.sampled_from([0, 1])), max_size=6),
)
def test_without_circles_all_come_up_in_order_and_a_round_is_final(
    edges: list[tuple[int, int]], conditions: list[str], fall: list[tuple[int, int]]
) -> None:
    mesh = three_nodes()
    names = [f"s{number}" for number in range(5)]
    waits: dict[str, set[str]] = {name: set() for name in names}
    for high, low in edges:
        if high > low:
            waits[names[high]].add(names[low])
    jobs = {names[number] for number, each in enumerate(conditions) if each == "service_completed_successfully"}
    for name in reversed(names):
        needs = tuple(
            Dependency(service=other, condition=conditions[names.index(other)])  # type: ignore[arg-type]
            for other in sorted(waits[name])
        )
        spec = service_spec(name, restart=JOB if name in jobs else RestartPolicy(delay=0.1))
        mesh.deploy(msgspec.structs.replace(spec, depends_on=needs, update=UpdatePolicy(monitor=0.0)), 2)
    first: dict[str, float] = {}
    for number in range(40):
        mesh.now += 0.5
        mesh.beat()
        mesh.observe()
        mesh.round()
        assert not mesh.round().changes, "planned again on its own result it decides nothing"
        mesh.work()
        for name in names:
            if mesh.running(name):
                first.setdefault(name, mesh.now)
        for job in jobs:
            ended(mesh, job, 0)
        if number > 20 and fall:
            who, code = fall.pop()
            if names[who] not in jobs:
                ended(mesh, names[who], code)
    for name in names:
        assert all(first[name] > first[other] for other in waits[name])
        assert mesh.rollouts[name].running + mesh.rollouts[name].complete == 2, name


def standing(*specs: ServiceSpec) -> Records:
    mesh = Mesh()
    for spec in specs:
        mesh.deploy(spec)
    records = Records()
    records.services.update(mesh.services)
    records.revisions.update(mesh.revisions)
    return records


def test_an_update_of_a_dependency_replaces_those_that_asked_for_it_and_theirs() -> None:
    db, web = service_spec("db"), waiting("web", "db", restart_too=True)
    edge, api = waiting("edge", "web", restart_too=True), waiting("api", "db")
    records = standing(db, web, edge, api)
    wanted = [ServiceDeploy(spec=service_spec("db", image="db:2")), ServiceDeploy(spec=web)]
    assert [(each.spec.name, each.spec.task.force) for each in dragged(records, wanted)] == [
        ("db", 0), ("web", 1), ("edge", 1),
    ]  # fmt: skip


def test_the_same_file_again_replaces_nothing_though_force_was_raised() -> None:
    db, web = service_spec("db"), waiting("web", "db", restart_too=True)
    forced = msgspec.structs.replace(web, task=msgspec.structs.replace(web.task, force=3))
    assert [each.spec for each in dragged(standing(db, forced), [ServiceDeploy(spec=db), ServiceDeploy(spec=web)])] == [
        db, forced,
    ]  # fmt: skip
