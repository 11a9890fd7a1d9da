"""What an agent that the store knows nothing of may bring by its word: nothing that takes tasks from other nodes."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from msgspec.structs import replace

from controller.hearsay import Word, weigh
from controller.readopting import readopted
from controller.world import Stored
from schemas.assignment import AssignedTask, Assignment
from schemas.spec import ServiceSpec, TaskSpec
from schemas.task_ids import age
from tests.unit.controller.model import Mesh, service_spec

UNKNOWN = Assignment(node="n3", epoch=8)
BESIDE = {1: "the slot is filled by 7-1 on n1", 2: "the slot is filled by 7-2 on n2"}


def mesh_of(replicas: int = 2, spec: ServiceSpec | None = None) -> Mesh:
    """A service on n1 and n2; n3 is a member with no assignment. The next leader leads."""
    mesh = Mesh()
    for name in ("n1", "n2", "n3"):
        mesh.add_node(name)
    mesh.change_node("n3", availability="pause")
    mesh.deploy(spec or service_spec(), replicas=replicas)
    mesh.settle()
    mesh.change_node("n3", availability="active")
    mesh.epoch, mesh.minted = mesh.epoch + 1, 0
    return mesh


def told(mesh: Mesh, *slots: str, service: str = "web", root: str = "7-z", spec: TaskSpec | None = None) -> Assignment:
    """What n3's agent says that it holds."""
    spec = spec or mesh.revisions["web", 1].spec.task
    tasks = tuple(
        AssignedTask(id=f"{root}{number}", service=service, slot=slot, revision=1, spec=spec.hash)
        for number, slot in enumerate(slots)
    )
    return Assignment(node="n3", epoch=7, tasks=tasks, specs={spec.hash: spec})


def word_of(mesh: Mesh, held: Assignment | None, named: Assignment = UNKNOWN) -> Word:
    return weigh(mesh.world(), named, held)


def believe(mesh: Mesh, word: Word) -> None:
    """It is stored, and n3 has run it all along, as it says."""
    record = readopted(UNKNOWN, word.held, 1, mesh.epoch)
    running = replace(record, tasks=tuple(replace(task, desired="running") for task in record.tasks))
    mesh.agents["n3"].obey(Stored(running, mesh.sequence))
    mesh.observe()
    mesh.assignments["n3"] = Stored(record, mesh.sequence + 1)
    mesh.sequence += 1


def wishes(word: Word) -> dict[str, str]:
    assert word.held is not None
    return {task.slot: task.desired for task in word.held.tasks}


def live(mesh: Mesh, *nodes: str) -> set[str]:
    return {task.id for node in nodes for task in mesh.agents[node].live}


def test_slots_of_others_are_not_taken() -> None:
    mesh = mesh_of()
    before = live(mesh, "n1", "n2")
    word = word_of(mesh, told(mesh, "1", "2"))
    assert word.held is not None
    assert [(task.desired, task.why) for task in word.held.tasks] == [("shutdown", BESIDE[1]), ("shutdown", BESIDE[2])]
    believe(mesh, word)
    mesh.settle()
    assert live(mesh, "n1", "n2") == before
    assert live(mesh, "n3") == set()


@pytest.mark.parametrize(("busy", "slots"), [(("n1",), ("5", "6", "7")), (("n1", "n2"), ("77", "77"))])
def test_slots_that_nobody_wants_push_none_out(busy: Iterable[str], slots: tuple[str, ...]) -> None:
    mesh = mesh_of()
    if tuple(busy) == ("n1",):
        mesh.change_node("n2", availability="drain")
        mesh.change_node("n3", availability="pause")
        mesh.settle()
        mesh.change_node("n3", availability="active")
    before = live(mesh, "n1", "n2")
    word = word_of(mesh, told(mesh, *slots))
    assert set(wishes(word).values()) == {"shutdown"}
    believe(mesh, word)
    mesh.settle()
    assert live(mesh, "n1", "n2") == before


def test_a_slot_that_is_being_scaled_away_is_not_kept_by_a_word() -> None:
    mesh = mesh_of(replicas=4)
    mesh.kill("n2")
    mesh.agents["n1"].slow = True
    mesh.change_service("web", replicas=1)
    mesh.step()
    assert set(mesh.assigned()) < {"1", "2", "3", "4"}
    assert set(wishes(word_of(mesh, told(mesh, "1", "2", "3", "4"))).values()) == {"shutdown"}


@pytest.mark.parametrize(
    ("id_", "says"),
    [
        ("zzzzz-1", "task zzzzz-1 can't have been made before epoch 8"),
        ("8-1", "task 8-1 can't have been made before epoch 8"),
        ("8-1.r4", "can't have been made before"),
        ("7-1", "task 7-1 is one of node n1"),
        ("7-2.r7", "task 7-2.r7 is one of node n2"),
        ("mine", "'mine' is no task's id"),
        ("7--5", "is no task's id"),
        ("7-5.r1.r2", "is no task's id"),
        ("7-" + "5" * 5000, "is no task's id"),
    ],
)
def test_ids_that_no_earlier_leader_gave_that_node_are_not_believed(id_: str, says: str) -> None:
    mesh = mesh_of()
    held = told(mesh, "9", "3")
    word = word_of(mesh, replace(held, tasks=(held.tasks[0], replace(held.tasks[1], id=id_))))
    assert word.held is None
    assert says in word.refused
    assert len(word.refused) < 200


def test_what_fills_empty_slots_is_kept() -> None:
    mesh = mesh_of(replicas=2)
    mesh.change_service("web", replicas=4)
    word = word_of(mesh, told(mesh, "3", "4", "5"))
    assert wishes(word) == {"3": "running", "4": "running", "5": "shutdown"}
    believe(mesh, word)
    mesh.settle()
    assert live(mesh, "n3") == {"7-z0", "7-z1"}
    assert mesh.running() == {"1": "n1", "2": "n2", "3": "n3", "4": "n3"}


def test_what_the_store_does_not_know_runs_on_where_it_is() -> None:
    """It may have been lost with the store."""
    mesh = mesh_of()
    mesh.change_service("web", replicas=3)
    other = service_spec(image="web:lost").task
    lost = told(mesh, "1", "2", service="lost", root="7-y", spec=other)
    revision = told(mesh, "3", spec=other)
    held = replace(lost, tasks=(*lost.tasks, *revision.tasks))
    word = word_of(mesh, held)
    assert word == Word(held)
    believe(mesh, word)
    mesh.settle()
    assert live(mesh, "n3") >= {task.id for task in lost.tasks}
    assert list(mesh.running()) == ["1", "2", "3"], "that revision is not the one that is wanted"


def test_of_a_global_service_a_node_tells_of_its_own_slot_only() -> None:
    mesh = mesh_of(spec=service_spec(mode="global"))
    assert wishes(word_of(mesh, told(mesh, "n3", "n4"))) == {"n3": "running", "n4": "shutdown"}


def test_what_the_backup_names_for_it_is_decided_about_as_after_any_return() -> None:
    mesh = mesh_of()
    held = told(mesh, "1", "2")
    named = replace(held, tasks=held.tasks[:1], provisional=True)
    follower = replace(held, tasks=(replace(held.tasks[0], id="7-z0.r3"), held.tasks[1]))
    assert wishes(word_of(mesh, follower, named)) == {"1": "running", "2": "shutdown"}
    elsewhere = replace(named, tasks=(replace(named.tasks[0], slot="9"),))
    assert wishes(word_of(mesh, held, elsewhere)) == {"1": "shutdown", "2": "shutdown"}


def test_a_task_that_is_up_goes_before_one_elsewhere_that_is_not_up_yet() -> None:
    """A replacement that still starts: as after any node's return."""
    mesh = mesh_of()
    agent = mesh.agents["n1"]
    agent.slow = True
    agent.tasks = {id_: replace(task, state="starting") for id_, task in agent.tasks.items()}
    mesh.observe()
    word = word_of(mesh, told(mesh, "1", "2"))
    assert wishes(word) == {"1": "running", "2": "shutdown"}
    believe(mesh, word)
    mesh.step()
    agent.slow = False
    mesh.settle()
    assert mesh.running() == {"1": "n3", "2": "n2"}


def test_nothing_is_stored_before_it_is_known_what_is_up() -> None:
    mesh = mesh_of()
    mesh.unseen_since = mesh.now
    assert word_of(mesh, told(mesh, "1")) == Word(waits="the leader has not got all that nodes told")
    mesh.unseen_since = None
    del mesh.heard["n1"]
    assert "node n1, which has a task of slot 1 of web, is not heard yet" in word_of(mesh, told(mesh, "1", "2")).waits
    assert not word_of(mesh, told(mesh, "2")).waits
    mesh.change_node("n1", removed=True)
    assert not word_of(mesh, told(mesh, "1")).waits


def test_a_node_that_is_down_or_that_only_a_backup_knows_holds_no_slot() -> None:
    mesh = mesh_of(replicas=2)
    mesh.kill("n1", "n2")
    mesh.run(4)
    stored = mesh.assignments["n2"]
    assert {mesh.liveness[node].verdict for node in ("n1", "n2")} == {"down"}
    mesh.assignments = {"n1": mesh.assignments["n1"], "n2": Stored(replace(stored.record, provisional=True), 1)}
    del mesh.liveness["n2"], mesh.heard["n2"]
    held = told(mesh, "1", "2")
    assert word_of(mesh, held) == Word(held)


def test_what_must_not_run_twice_ends_at_once_beside_one_elsewhere() -> None:
    spec = service_spec()
    mesh = mesh_of(spec=replace(spec, task=replace(spec.task, stop_after=30.0)))
    for agent in mesh.agents.values():
        for task in agent.live:
            agent.tasks[task.id] = replace(task, state="starting")
    mesh.observe()
    word = word_of(mesh, told(mesh, "1", "2"))
    assert wishes(word) == {"1": "shutdown", "2": "shutdown"}


def test_a_spec_that_the_store_knows_is_the_stores() -> None:
    mesh = mesh_of()
    mesh.change_service("web", replicas=3)
    held = told(mesh, "3")
    (name,) = held.specs
    false = replace(held.specs[name], stop_after=5.0)
    word = word_of(mesh, replace(held, specs={name: false, "more": false}, prepare={"web": "more"}))
    assert word.held == held


@pytest.mark.parametrize("held", [None, Assignment(node="n1", epoch=7)])
def test_without_a_word_of_its_own_the_backups_counts(held: Assignment | None) -> None:
    assert word_of(mesh_of(), held) == Word()


def test_the_next_leaders_tasks_are_newer_than_whatever_is_told() -> None:
    mesh = mesh_of()
    mesh.change_service("web", replicas=3)
    believe(mesh, word_of(mesh, told(mesh, "3", root="7-zzzzz")))
    mesh.cut("n3")
    mesh.run(4)
    (made,) = [task for node in ("n1", "n2") for task in mesh.agents[node].live if task.slot == "3"]
    assert age(made.id) > age("7-zzzzz0")
    mesh.heal("n3")
    mesh.settle()
    assert live(mesh, "n3") == set()


def test_a_slot_of_which_another_node_only_ends_its_task_is_not_counted_twice() -> None:
    """The backup was taken while it was being moved; its replacement is what n3 holds."""
    mesh = mesh_of(replicas=3)
    stored = mesh.assignments["n2"]
    slots = [task.slot for task in stored.record.tasks]
    ending = tuple(replace(task, desired="shutdown") for task in stored.record.tasks)
    mesh.assignments["n2"] = Stored(replace(stored.record, tasks=ending), stored.sequence)
    assert set(wishes(word_of(mesh, told(mesh, *slots))).values()) == {"running"}
