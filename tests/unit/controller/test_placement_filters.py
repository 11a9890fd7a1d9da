"""Where a task may go, where it should go, and why nowhere."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from controller.constraints import platform_fits, satisfied
from controller.nodes import NodeView
from schemas.observation import BoundPort, NodeFacts, Observation
from schemas.ports import Port
from schemas.records import NodeRecord
from schemas.spec import ContainerSpec, ServiceSpec, TaskSpec
from tests.unit.controller.model import GIB, Mesh, constraint, service_spec, three_nodes

FACTS = NodeFacts(
    hostname="N1.example",
    address="10.1.2.3",
    os="linux",
    architecture="x86_64",
    engine_labels={"disk": "ssd"},
    controller=True,
)
VIEW = NodeView(
    "n1",
    NodeRecord(name="n1", instance="id-1", labels={"zone": "EU", "Rack": "7"}),
    "ready",
    Observation(node="n1", instance="id-1", boot="b", counter=1, facts=FACTS),
    settled=True,
)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("node.id==n1", True),
        ("node.id==ID-1", True),
        ("node.id!=n1", False),
        ("node.hostname==n1", True),
        ("node.hostname==n1.EXAMPLE", True),
        ("NODE.HostName!=n2", True),
        ("node.role==manager", True),
        ("node.role==worker", False),
        ("node.ip==10.1.2.3", True),
        ("node.ip==10.1.0.0/16", True),
        ("node.ip!=10.1.0.0/16", False),
        ("node.ip==nonsense", False),
        ("node.platform.os==Linux", True),
        ("node.platform.arch==amd64", True),
        ("node.platform.arch==x86_64", True),
        ("node.platform.arch!=arm64", True),
        ("node.labels.zone==eu", True),
        ("node.labels.rack==7", False),
        ("node.labels.Rack==7", True),
        ("node.labels.absent==x", False),
        ("node.labels.absent!=x", True),
        ("engine.labels.disk==SSD", True),
        ("engine.labels.disk!=ssd", False),
        ("node.colour==blue", False),
        ("node.colour!=blue", False),
    ],
)
def test_constraints_hold_as_they_do_in_docker(text: str, holds: bool) -> None:
    assert satisfied(constraint(text), VIEW) == holds


@pytest.mark.parametrize(
    ("platform", "fits"),
    [
        ("", True),
        ("linux", True),
        ("linux/amd64", True),
        ("linux/x86_64", True),
        ("linux/amd64/v2", True),
        ("linux/arm64", False),
        ("windows/amd64", False),
    ],
)
def test_platforms_are_compared_by_the_names_that_images_use(platform: str, fits: bool) -> None:
    assert platform_fits(platform, FACTS) == fits


def why_not(mesh: Mesh, spec: ServiceSpec, replicas: int = 1) -> dict[str, int]:
    mesh.deploy(spec, replicas)
    mesh.run(1)
    return mesh.reasons(spec.name)


def test_reasons_are_counted_over_the_nodes() -> None:
    mesh = three_nodes()
    mesh.change_node("n2", availability="drain")
    assert why_not(mesh, service_spec(memory=100 * GIB), 7) == {"3 nodes: 2 lack memory, 1 drained": 7}


def test_each_reason_has_its_words() -> None:
    mesh = Mesh()
    for number in range(1, 8):
        mesh.add_node(f"n{number}", labels={"ok": "yes"} if number < 7 else {})
    mesh.round()
    mesh.change_node("n1", availability="pause")
    mesh.kill("n2")
    mesh.agents["n3"].engine = "no socket"
    mesh.agents["n4"].ports_taken = (BoundPort(target=1, published=8080, host_ip="0.0.0.0"),)
    mesh.agents["n5"].facts = NodeFacts(architecture="aarch64", cpus=8.0, memory=GIB)
    mesh.agents["n6"].facts = NodeFacts(architecture="x86_64", cpus=0.5, memory=GIB)
    mesh.run(4)
    spec = service_spec(cpus=1.0, ports=(8080,), constraints=("node.labels.ok==yes",), platform="linux/amd64")
    assert why_not(mesh, spec) == {
        "7 nodes: 1 does not match node.labels.ok==yes, 1 down, 1 has port 8080/tcp taken, 1 is not linux/amd64, "
        "1 lacks CPUs, 1 not ready, 1 paused": 1
    }


def test_a_mesh_without_nodes_says_so() -> None:
    assert why_not(Mesh(), service_spec(), 2) == {"the mesh has no node": 2}


def test_reservations_are_summed_over_all_services() -> None:
    mesh = Mesh()
    mesh.add_node("n1", cpus=1.0)
    mesh.deploy(service_spec("a", cpus=0.1), replicas=9)
    mesh.run(1)
    assert why_not(mesh, service_spec("b", cpus=0.1), 2) == {"1 node: 1 lacks CPUs": 1}
    assert len(mesh.running("a")) == 9
    assert len(mesh.running("b")) == 1


def test_at_most_so_many_on_a_node() -> None:
    mesh = three_nodes()
    assert why_not(mesh, service_spec(max_per_node=2), 8) == {"3 nodes: 3 at 2 tasks of the service": 2}
    assert len(mesh.running()) == 6


def test_ten_thousand_replicas_on_three_nodes() -> None:
    mesh = three_nodes()
    assert why_not(mesh, service_spec(), 10_000) == {"3 nodes: 3 full (1000 tasks)": 7000}
    assert mesh.rollouts["web"].running == 3000


def test_an_assignment_stays_below_its_limit() -> None:
    mesh = three_nodes()
    mesh.tasks_per_node = 10**6
    why_not(mesh, service_spec(), 10_000)
    from schemas.assignment import ASSIGNMENT_LIMIT
    from schemas.wire import encode

    sizes = [len(encode(stored.record)) for stored in mesh.assignments.values()]
    assert all(size <= ASSIGNMENT_LIMIT for size in sizes)
    assert min(sizes) > ASSIGNMENT_LIMIT / 4


def test_slots_that_publish_one_port_need_a_node_each() -> None:
    mesh = three_nodes()
    assert why_not(mesh, service_spec(ports=(8080,)), 4) == {"3 nodes: 3 have port 8080/tcp taken": 1}
    assert mesh.running() == {"1": "n1", "2": "n2", "3": "n3"}


PAIR = Port(target=80, published=8000, published_last=8001)


def test_a_node_takes_as_many_tasks_as_a_range_has_ports() -> None:
    mesh = three_nodes()
    told = why_not(mesh, service_spec("web", ports=(PAIR,)), 7)
    assert told == {"3 nodes: 3 have all ports of 8000-8001/tcp taken": 1}
    assert Counter(mesh.running().values()) == {"n1": 2, "n2": 2, "n3": 2}
    other = msgspec.structs.replace(PAIR, protocol="udp")
    assert not why_not(mesh, service_spec("dns", ports=(other,)), 6)


def test_ports_that_others_have_are_none_of_a_range() -> None:
    mesh = three_nodes()
    mesh.agents["n1"].ports_taken = (BoundPort(target=1, published=8001), BoundPort(target=1, published=8000))
    mesh.agents["n2"].ports_taken = (BoundPort(target=1, published=8000),)
    mesh.deploy(service_spec("named", ports=(8001,), constraints=("node.id==n3",)))
    mesh.run(2)
    why_not(mesh, service_spec("web", ports=(PAIR,)), 4)
    assert Counter(mesh.running("web").values()) == {"n2": 1, "n3": 1}


def test_what_the_engine_picked_is_what_counts_once_it_is_told() -> None:
    mesh = Mesh()
    agent = mesh.add_node("n1")
    mesh.deploy(service_spec("web", ports=(PAIR,)))
    mesh.run(2)
    (task,) = agent.live
    agent.tasks[task.id] = msgspec.structs.replace(task, ports=(BoundPort(target=80, published=8001),))
    mesh.run(1)
    assert why_not(mesh, service_spec("late", ports=(8001,))) == {"1 node: 1 has port 8001/tcp taken": 1}
    assert not why_not(mesh, service_spec("early", ports=(8000,)))
    assert why_not(mesh, service_spec("more", ports=(PAIR,))) == {"1 node: 1 has all ports of 8000-8001/tcp taken": 1}


def test_a_task_with_two_ranges_needs_a_port_of_each() -> None:
    mesh = Mesh()
    mesh.add_node("n1")
    both = (PAIR, msgspec.structs.replace(PAIR, target=81), Port(target=82, published=8001))
    assert why_not(mesh, service_spec("web", ports=both)) == {"1 node: 1 has all ports of 8000-8001/tcp taken": 1}
    wide = (PAIR, Port(target=81, published=8001, published_last=8002))
    assert not why_not(mesh, service_spec("wide", ports=wide))


def test_one_port_on_two_addresses_is_two_places() -> None:
    def on(name: str, address: str) -> ServiceSpec:
        ports = (Port(target=80, published=8080, host_ip=address),)
        return ServiceSpec(name=name, task=TaskSpec(container=ContainerSpec(image="x", ports=ports)))

    mesh = Mesh()
    mesh.add_node("n1")
    for name, address in (("a", "10.0.0.1"), ("b", "10.0.0.2"), ("c", "0.0.0.0")):
        mesh.deploy(on(name, address))
    mesh.run(1)
    assert (mesh.running("a"), mesh.running("b"), mesh.running("c")) == ({"1": "n1"}, {"1": "n1"}, {})


def test_fewest_tasks_of_the_service_come_before_fewest_tasks() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec("a", constraints=("node.id!=n3",)), replicas=4)
    mesh.settle()
    mesh.deploy(service_spec("b"), replicas=4)
    mesh.settle()
    assert sorted(mesh.running("b").values()) == ["n1", "n2", "n3", "n3"]


def test_tasks_are_spread_over_zones_before_nodes() -> None:
    mesh = Mesh()
    for name, zone in (("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b")):
        mesh.add_node(name, labels={"zone": zone})
    mesh.deploy(service_spec(spread=("node.labels.zone",)), replicas=6)
    mesh.settle()
    assert sorted(mesh.running().values()) == ["a1", "a2", "a3", "b1", "b1", "b1"]


def test_zones_that_are_full_are_passed_over() -> None:
    mesh = Mesh()
    for name, zone, rack in (("a1", "a", "1"), ("a2", "a", "2"), ("b1", "b", "1")):
        mesh.add_node(name, labels={"zone": zone, "rack": rack}, cpus=2.0 if zone == "b" else 8.0)
    mesh.deploy(service_spec(spread=("node.labels.zone", "node.labels.rack"), cpus=1.0), replicas=8)
    mesh.settle()
    assert sorted(mesh.running().values()) == ["a1", "a1", "a1", "a2", "a2", "a2", "b1", "b1"]


def test_a_node_that_was_never_observed_gets_nothing() -> None:
    mesh = three_nodes()
    mesh.put_node(NodeRecord(name="n0", instance="x"))
    mesh.took_over = mesh.hearing_since = mesh.now
    mesh.beat()
    assert why_not(mesh, service_spec(memory=100 * GIB)) == {"4 nodes: 3 lack memory, 1 not heard yet": 1}
