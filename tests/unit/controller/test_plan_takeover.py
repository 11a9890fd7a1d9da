"""What a new leader places before all nodes were heard: spread as ever, and no node is waited for that is late."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace as changed

import pytest
from msgspec.structs import replace

from controller.liveness import QUIET_PERIODS
from schemas.liveness import HEARTBEAT_PERIOD
from schemas.spec import UpdatePolicy
from tests.unit.controller.model import GIB, Mesh, service_spec

LATE = QUIET_PERIODS * HEARTBEAT_PERIOD


def taken_over(*, followed: bool = True) -> Mesh:
    """Three nodes that were up, of which a new leader has heard one. `followed`: it heard all before it led."""
    mesh = Mesh()
    for name in ("n1", "n2", "n3"):
        mesh.add_node(name)
    mesh.deploy(service_spec("before"), replicas=3)
    mesh.settle()
    mesh.now += 0.1
    mesh.epoch, mesh.took_over, mesh.hearing_since = 8, mesh.now, mesh.now
    if not followed:
        mesh.heard.clear()
    mesh.now += 0.1
    mesh.cut("n2", "n3")
    mesh.beat()
    return mesh


def given(mesh: Mesh) -> Counter[str]:
    tasks = ((node, task) for node, each in mesh.assignments.items() for task in each.record.tasks)
    return Counter(node for node, task in tasks if task.service == "web" and task.desired == "running")


@pytest.mark.parametrize("followed", [True, False])
@pytest.mark.parametrize("spread", [(), ("node.hostname",)])
def test_what_belongs_on_nodes_that_are_expected_waits_for_them(spread: tuple[str, ...], followed: bool) -> None:
    mesh = taken_over(followed=followed)
    minted = mesh.minted
    mesh.deploy(service_spec(spread=spread), replicas=6)
    mesh.round()
    assert given(mesh) == {"n1": 2}
    assert mesh.minted == minted + 2, "what waits has no task yet"
    assert {f"waits for node {node}, which this leader has not heard yet" for node in ("n2", "n3")} <= {*mesh.reasons()}
    assert not mesh.round().changes
    mesh.heal("n2", "n3")
    mesh.settle()
    assert given(mesh) == {"n1": 2, "n2": 2, "n3": 2}


def test_a_node_that_is_late_is_waited_for_no_longer() -> None:
    mesh = taken_over()
    mesh.deploy(service_spec(), replicas=6)
    mesh.now = mesh.took_over + LATE - 0.2
    mesh.beat()
    wake_at = mesh.round().wake_at
    assert given(mesh) == {"n1": 2}
    assert wake_at == mesh.took_over + LATE, "nothing else would have it looked at again just then"
    mesh.now = wake_at
    mesh.round()
    assert given(mesh) == {"n1": 6}


def test_of_nodes_that_are_expected_only_the_late_are_given_up() -> None:
    mesh = taken_over()
    mesh.deploy(service_spec(), replicas=6)
    mesh.heal("n2")
    mesh.settle()
    assert given(mesh) == {"n1": 2, "n2": 2}
    mesh.now = mesh.took_over + LATE
    mesh.beat()
    mesh.round()
    assert given(mesh) == {"n1": 3, "n2": 3}


@pytest.mark.parametrize("changes", [{"availability": "pause"}, {"availability": "drain"}, {"removed": True}])
def test_a_node_that_takes_nothing_is_not_expected(changes: dict[str, object]) -> None:
    mesh = taken_over()
    mesh.change_node("n2", **changes)
    mesh.deploy(service_spec(), replicas=6)
    mesh.round()
    assert given(mesh) == {"n1": 3}


@pytest.mark.parametrize(
    "changes",
    [{"suspect_since": 1000.0}, {"leaving": True}, {"engine": "hangs"}, {"untold": "no disk"}, {"boot": "another"}],
)
def test_a_node_of_which_it_heard_while_it_followed_that_it_is_in_trouble_is_not_expected(
    changes: dict[str, object],
) -> None:
    mesh = taken_over()
    mesh.heard["n2"] = changed(mesh.heard["n2"], **changes)  # type: ignore[arg-type]
    mesh.deploy(service_spec(), replicas=6)
    mesh.round()
    assert given(mesh) == {"n1": 3}


def test_a_node_that_was_not_ready_for_the_leader_before_is_not_expected() -> None:
    mesh = taken_over(followed=False)
    mesh.liveness["n2"] = replace(mesh.liveness["n2"], verdict="not-ready", why="its engine hangs")
    mesh.deploy(service_spec(), replicas=6)
    mesh.round()
    assert given(mesh) == {"n1": 3}


def test_what_may_go_to_one_node_only_waits_for_no_other() -> None:
    mesh = taken_over()
    mesh.agents["n1"].volumes.add("data")
    mesh.observe()
    mesh.deploy(service_spec(constraints=("node.hostname==n1",)), replicas=2)
    mesh.deploy(service_spec("db", volume="data"), replicas=2)
    mesh.round()
    assert given(mesh) == {"n1": 2}
    assert mesh.assigned("db") == {"1": ["n1"], "2": ["n1"]}


def test_nodes_that_are_expected_and_have_no_room_are_not_waited_for() -> None:
    mesh = taken_over()
    for name in ("n2", "n3"):
        seen = mesh.observations[name]
        mesh.observations[name] = replace(seen, facts=replace(seen.facts, memory=GIB))
    mesh.deploy(service_spec(memory=4 * GIB), replicas=4)
    mesh.round()
    assert given(mesh) == {"n1": 4}


def test_where_the_service_fails_on_all_nodes_those_that_are_expected_are_waited_for_too() -> None:
    mesh = taken_over()
    mesh.deploy(service_spec(), replicas=0)
    mesh.round()
    mesh.rollouts["web"] = replace(mesh.rollouts["web"], failures=dict.fromkeys(mesh.nodes, (mesh.now,) * 5))
    mesh.change_service("web", replicas=3)
    mesh.round()
    assert given(mesh) == {"n1": 1}


def test_what_is_to_leave_a_node_stays_for_as_long_as_its_next_node_is_expected() -> None:
    """It has a place there: `max_unavailable` does not end it for want of one."""
    mesh = taken_over()
    spec = replace(service_spec(memory=10 * GIB), update=UpdatePolicy(max_unavailable="1"))
    mesh.deploy(spec, replicas=1)
    mesh.step(0.1)
    mesh.step(0.1)
    assert list(mesh.running("web").values()) == ["n1"]
    mesh.change_node("n1", availability="drain")
    mesh.now += 0.1
    mesh.beat()
    mesh.round()
    assert given(mesh) == {"n1": 1}
    assert list(mesh.reasons()) == [
        "stays on node n1, which is drained: waits for node n3, which this leader has not heard yet"
    ]
