"""A lost node comes back: which of a slot's two tasks stays, as the service says (`on_reconnect`)."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from schemas.assignment import Applied
from schemas.spec import OnReconnect, ServiceSpec
from tests.unit.controller.model import Mesh, service_spec

BOTH: tuple[OnReconnect, ...] = ("keep-replacement", "keep-original")


def lost(on_reconnect: OnReconnect, *, slow: bool = False) -> Mesh:
    """Slot 3 ran on n3, which is cut off; its replacement is on n1, and still starts where that is `slow`."""
    mesh = Mesh()
    for name in ("n1", "n2", "n3"):
        mesh.add_node(name)
    mesh.deploy(spec_of(on_reconnect), replicas=3)
    mesh.settle()
    mesh.agents["n1"].slow = slow
    mesh.cut("n3")
    mesh.run(4)
    assert mesh.assigned()["3"] == ["n1", "n3"]
    return mesh


def spec_of(on_reconnect: OnReconnect, image: str = "web:1") -> ServiceSpec:
    return replace(service_spec(image=image), on_reconnect=on_reconnect)


def filled_by(mesh: Mesh, slot: str = "3") -> list[str]:
    """The tasks that really run in a slot, on whichever node."""
    return [task.id for agent in mesh.agents.values() for task in agent.live if task.slot == slot]


@pytest.mark.parametrize(
    ("on_reconnect", "up", "stays"),
    [
        ("keep-replacement", True, "n1"),
        ("keep-replacement", False, "n3"),
        ("keep-original", True, "n3"),
        ("keep-original", False, "n3"),
    ],
)
def test_of_a_task_and_its_replacement_the_one_stays_that_the_service_wants(
    on_reconnect: OnReconnect, up: bool, stays: str
) -> None:
    mesh = lost(on_reconnect, slow=not up)
    tasks = {node: next(task.id for task in mesh.agents[node].live if task.slot == "3") for node in ("n1", "n3")}
    assert mesh.agents["n1"].tasks[tasks["n1"]].state == ("running" if up else "starting")
    others = {slot: filled_by(mesh, slot) for slot in ("1", "2")}
    mesh.heal("n3")
    mesh.step()
    mesh.agents["n1"].slow = False
    mesh.settle()
    assert mesh.assigned()["3"] == [stays]
    assert filled_by(mesh) == [tasks[stays]]
    assert {slot: filled_by(mesh, slot) for slot in ("1", "2")} == others


@pytest.mark.parametrize("on_reconnect", BOTH)
def test_an_original_that_has_ended_meanwhile_does_not_come_back(on_reconnect: OnReconnect) -> None:
    mesh = lost(on_reconnect)
    mesh.fail("n3")
    mesh.heal("n3")
    mesh.settle()
    assert mesh.assigned()["3"] == ["n1"]
    assert mesh.running()["3"] == "n1"


@pytest.mark.parametrize("on_reconnect", BOTH)
def test_an_original_that_is_not_up_gives_way_to_a_replacement_that_is(on_reconnect: OnReconnect) -> None:
    mesh = lost(on_reconnect)
    away = mesh.agents["n3"]
    away.slow = True
    (task,) = away.live
    away.tasks[task.id] = replace(task, state="starting")
    mesh.heal("n3")
    mesh.step()
    away.slow = False
    mesh.settle()
    assert mesh.running()["3"] == "n1"


@pytest.mark.parametrize("on_reconnect", BOTH)
def test_an_original_of_a_revision_that_is_not_wanted_any_more_goes(on_reconnect: OnReconnect) -> None:
    mesh = lost(on_reconnect)
    mesh.deploy(spec_of(on_reconnect, "web:2"), replicas=3)
    mesh.run(20)
    mesh.heal("n3")
    mesh.settle()
    assert mesh.running()["3"] == "n1"
    assert {task.revision for agent in mesh.agents.values() for task in agent.live} == {2}


def test_what_is_to_stay_can_be_changed_while_the_node_is_away_and_replaces_nothing() -> None:
    mesh = lost("keep-replacement")
    before = {slot: filled_by(mesh, slot) for slot in ("1", "2")}
    mesh.deploy(spec_of("keep-original"), replicas=3)
    mesh.run(4)
    mesh.heal("n3")
    mesh.settle()
    assert mesh.running() == {"1": "n1", "2": "n2", "3": "n3"}
    assert {slot: filled_by(mesh, slot) for slot in ("1", "2")} == before


def test_what_an_agent_without_its_notes_does_not_show_has_not_ended() -> None:
    """A new process of it obeys before its engine has told what runs: only then it knows of the task."""
    mesh = Mesh()
    mesh.add_node("n1")
    mesh.deploy(service_spec(), replicas=1)
    mesh.settle()
    agent = mesh.agents["n1"]
    runs = dict(agent.tasks)
    agent.tasks, agent.engine = {}, "the engine has not answered yet"
    mesh.add_node("n2")
    mesh.deploy(service_spec(image="web:2"), replicas=1)
    for _ in range(10):
        stored = mesh.assignments["n1"]
        agent.applied = Applied(generation=stored.record.generation, sequence=stored.sequence)
        mesh.step()
    assert [task.desired for task in mesh.assignments["n1"].record.tasks] == ["shutdown"]
    assert mesh.assigned() == {}
    agent.tasks, agent.engine = runs, ""
    mesh.settle()
    assert list(mesh.assigned()) == ["1"]
    assert len(filled_by(mesh, "1")) == 1
