"""A round decides all that it can: another at the same moment, with nothing new, has nothing to add."""

from __future__ import annotations

import msgspec

from controller.plan import plan
from schemas.ports import Port
from schemas.records import RevisionRecord
from schemas.spec import Mount, ServiceSpec, UpdatePolicy
from tests.unit.controller.model import EVERYTHING, GIB, Mesh, service_spec, three_nodes

TWO_PORTS = (Port(target=80, published=8080, published_last=8081),)


def decide_once(mesh: Mesh) -> None:
    """A round, after which there is nothing more to decide; then the agents do as they are told."""
    mesh.now += 0.4
    mesh.beat()
    mesh.observe()
    mesh.round()
    assert plan(mesh.world(), EVERYTHING, mesh.now).changes == ()
    mesh.work()


def test_a_volume_that_a_global_service_takes_to_all_nodes_gives_open_slots_a_place() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec("a", volume="data", ports=TWO_PORTS), replicas=4)
    decide_once(mesh)
    assert mesh.assigned("a") == {"1": ["n1"], "2": ["n1"]}
    mesh.deploy(service_spec("b", mode="global", volume="data"))
    decide_once(mesh)
    assert mesh.assigned("a") == {"1": ["n1"], "2": ["n1"], "3": ["n2"], "4": ["n3"]}
    assert mesh.reasons("a") == {}


def test_what_still_has_no_place_is_told_of_as_things_stand_then() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec("a", volume="data", max_per_node=1), replicas=4)
    decide_once(mesh)
    mesh.deploy(service_spec("b", mode="global", volume="data"))
    decide_once(mesh)
    assert mesh.assigned("a") == {"1": ["n1"], "2": ["n2"], "3": ["n3"]}
    assert mesh.reasons("a") == {"volume data is on 3 nodes: 3 at 1 task of the service": 1}


def test_an_external_volume_that_another_service_makes_gives_a_place() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec("a", volume="data", external=True))
    mesh.deploy(service_spec("b", volume="data"))
    decide_once(mesh)
    assert mesh.assigned("a") == mesh.assigned("b") == {"1": ["n1"]}


def test_company_that_comes_in_the_same_round_gives_a_place() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec("b"))
    decide_once(mesh)
    mesh.deploy(service_spec("b", affinity=("a",)), replicas=2)
    mesh.deploy(service_spec("a", affinity=("b",)))  # each beside the other: one has to be looked at first
    decide_once(mesh)
    assert mesh.assigned("a") == {"1": ["n1"]}
    assert mesh.assigned("b")["2"] == ["n1"]


def test_one_place_gives_the_next() -> None:
    mesh = Mesh()
    for name in ("n1", "n2"):
        mesh.add_node(name, memory=GIB)
    mesh.round()
    mesh.deploy(service_spec("a", volume="two", external=True))
    mesh.deploy(service_spec("b", volume="one", external=True))
    mesh.deploy(service_spec("c", volume="one"))
    mesh.revisions["b", 1] = _also_making(mesh, "b", "two")
    decide_once(mesh)
    assert mesh.assigned("a") == mesh.assigned("b") == mesh.assigned("c") == {"1": ["n1"]}


def test_a_volume_that_comes_with_a_task_beside_an_old_one_gives_a_place() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec("a", volume="data", ports=(8080,)), replicas=2)
    mesh.deploy(service_spec("b", mode="global"))
    decide_once(mesh)
    mesh.deploy(_start_first(service_spec("b", mode="global", volume="data")))
    decide_once(mesh)
    assert mesh.assigned("a") == {"1": ["n1"], "2": ["n2"]}


def test_so_it_does_to_a_slot_that_keeps_to_the_last_good_revision() -> None:
    mesh = three_nodes()
    mesh.agents["n1"].volumes = {"data"}
    mesh.deploy(service_spec("a", volume="data", external=True))
    mesh.deploy(service_spec("b", mode="global"))
    for _ in range(20):
        decide_once(mesh)
    mesh.deploy(service_spec("a", volume="data", external=True, cpus=100))
    decide_once(mesh)
    mesh.change_service("a", paused=True)
    decide_once(mesh)
    mesh.fail("n1", "a")
    mesh.agents["n1"].volumes.clear()
    for _ in range(5):
        decide_once(mesh)
    assert mesh.assigned("a") == {}
    mesh.deploy(_start_first(service_spec("b", mode="global", volume="data")))
    decide_once(mesh)
    assert mesh.assigned("a") == {"1": ["n1"]}
    assert [task.revision for task in mesh.assignments["n1"].record.tasks if task.service == "a"] == [1]


def test_which_port_of_a_range_a_task_is_counted_with_does_not_change_when_another_comes() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec("c", mode="global", ports=TWO_PORTS))
    decide_once(mesh)
    mesh.deploy(service_spec("c", mode="global", ports=(8080,)))
    decide_once(mesh)
    mesh.deploy(service_spec("a", ports=TWO_PORTS), replicas=2)
    decide_once(mesh)


def _start_first(spec: ServiceSpec) -> ServiceSpec:
    return msgspec.structs.replace(spec, update=UpdatePolicy(order="start-first", parallelism=0))


def _also_making(mesh: Mesh, service: str, volume: str) -> RevisionRecord:
    """Its revision with one more volume, which it makes."""
    record = mesh.revisions[service, 1]
    container = record.spec.task.container
    mounts = (*container.mounts, Mount(kind="volume", target="/more", source=volume))
    task = msgspec.structs.replace(record.spec.task, container=msgspec.structs.replace(container, mounts=mounts))
    return msgspec.structs.replace(record, spec=msgspec.structs.replace(record.spec, task=task))
