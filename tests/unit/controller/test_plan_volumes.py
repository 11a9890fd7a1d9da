"""A slot goes where its data is: never a silent new empty volume."""

from __future__ import annotations

from schemas.observation import BoundPort
from tests.unit.controller.model import GIB, Mesh, service_spec, three_nodes


def test_a_slot_waits_for_the_node_that_has_its_volume() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec("redis", volume="redis_data"))
    mesh.settle()
    assert mesh.running("redis") == {"1": "n1"}
    mesh.kill("n1")
    mesh.run(5)
    assert mesh.assigned("redis") == {"1": ["n1"]}
    assert mesh.reasons("redis") == {"volume redis_data is on node n1, which is down": 1}
    mesh.boot("n1")
    mesh.settle()
    mesh.run(2)
    assert mesh.running("redis") == {"1": "n1"}


def test_slots_that_share_a_new_volume_land_on_one_node_in_one_round() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec("db", volume="shared"), replicas=3)
    mesh.step()
    assert mesh.assigned("db") == {"1": ["n1"], "2": ["n1"], "3": ["n1"]}


def test_services_that_share_a_new_volume_land_on_one_node() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec("a", volume="shared"))
    mesh.deploy(service_spec("b", volume="shared"))
    mesh.step()
    assert mesh.assigned("a") == mesh.assigned("b") == {"1": ["n1"]}


def test_each_slot_may_have_a_volume_of_its_own() -> None:
    mesh = three_nodes()
    for agent in mesh.agents.values():
        agent.volumes.clear()
    mesh.deploy(service_spec("db", volume="data-{{.Task.Slot}}"), replicas=3)
    mesh.step()
    assert mesh.assigned("db") == {"1": ["n1"], "2": ["n2"], "3": ["n3"]}
    mesh.agents["n2"].volumes = {"data-2"}
    mesh.settle()
    mesh.change_service("db", replicas=1)
    mesh.settle()
    mesh.agents["n1"].volumes = {"data-1"}
    mesh.agents["n3"].volumes = {"data-3"}
    mesh.change_service("db", replicas=3)
    mesh.settle()
    assert mesh.assigned("db") == {"1": ["n1"], "2": ["n2"], "3": ["n3"]}


def test_an_existing_volume_of_that_name_is_used() -> None:
    mesh = three_nodes()
    mesh.agents["n3"].volumes = {"old"}
    mesh.deploy(service_spec("db", volume="old"))
    mesh.settle()
    assert mesh.running("db") == {"1": "n3"}
    assert mesh.assignments["n3"].record.tasks[0].why == "it has volume old"


def test_a_volume_on_a_drained_node_is_not_left_behind() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec("db", volume="data"))
    mesh.settle()
    mesh.change_node("n1", availability="drain")
    mesh.run(3)
    assert mesh.running("db") == {"1": "n1"}
    stays = "stays on node n1, which is drained: volume data is on node n1, which is drained"
    assert mesh.reasons("db") == {stays: 1}
    mesh.change_node("n1", availability="drain", force=True)
    mesh.run(3)
    assert mesh.running("db") == {}
    assert mesh.reasons("db") == {"volume data is on node n1, which is drained": 1}


def test_a_full_node_with_the_volume_says_so() -> None:
    mesh = Mesh()
    mesh.add_node("n1", memory=GIB)
    mesh.add_node("n2", memory=GIB)
    mesh.deploy(service_spec("db", volume="data", memory=GIB), replicas=2)
    mesh.run(2)
    assert mesh.reasons("db") == {"volume data is on node n1, which lacks memory": 1}


def test_an_external_volume_must_be_there() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec("db", volume="nfs", external=True))
    mesh.run(1)
    assert mesh.reasons("db") == {"volume nfs is external and on no node": 1}
    mesh.agents["n2"].volumes = {"nfs"}
    mesh.settle()
    assert mesh.running("db") == {"1": "n2"}


def test_of_two_nodes_with_the_volume_a_slot_keeps_to_its_own() -> None:
    mesh = three_nodes()
    mesh.agents["n2"].volumes = {"data"}
    mesh.deploy(service_spec("db", volume="data"))
    mesh.settle()
    mesh.agents["n1"].volumes = {"data"}
    mesh.settle()
    mesh.fail("n2", "db")
    mesh.run(3)
    assert mesh.running("db") == {"1": "n2"}


def test_the_history_pins_where_the_observation_is_lost() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec("db", volume="data"))
    mesh.settle()
    mesh.change_service("db", replicas=0)
    mesh.settle()
    mesh.kill("n1")
    mesh.run(4)
    del mesh.observations["n1"]
    mesh.change_service("db", replicas=1)
    mesh.run(2)
    assert mesh.reasons("db") == {"volume data is on node n1, which is down": 1}


def test_a_removed_volume_ties_nobody() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec("db", volume="data"))
    mesh.settle()
    mesh.change_service("db", replicas=0)
    mesh.settle()
    mesh.agents["n1"].volumes.clear()
    mesh.change_node("n1", availability="drain")
    mesh.change_service("db", replicas=1)
    mesh.settle()
    assert mesh.running("db") == {"1": "n2"}


def test_a_removed_node_takes_its_volumes_with_it() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec("db", volume="data"))
    mesh.settle()
    mesh.kill("n1")
    mesh.run(4)
    mesh.change_node("n1", removed=True)
    mesh.settle()
    assert mesh.running("db") == {"1": "n2"}


def test_an_update_of_a_pinned_slot_happens_where_the_volume_is() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec("db", volume="data", ports=(5432,)))
    mesh.settle()
    mesh.deploy(service_spec("db", image="db:2", volume="data", ports=(5432,)))
    mesh.settle()
    assert mesh.running("db") == {"1": "n1"}
    assert mesh.rollouts["db"].updated == 1


def test_a_slot_that_waits_for_a_volume_does_not_hold_up_an_update() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec("db", volume="data-{{.Task.Slot}}"), replicas=3)
    for number in (1, 2, 3):
        mesh.agents[f"n{number}"].volumes = set()
    mesh.settle()
    for number in (1, 2, 3):
        mesh.agents[f"n{number}"].volumes = {f"data-{number}"}
    mesh.kill("n2")
    mesh.run(4)
    mesh.deploy(service_spec("db", image="db:2", volume="data-{{.Task.Slot}}"), replicas=3)
    mesh.run(5)
    assert mesh.rollouts["db"].updated == 2
    assert mesh.reasons("db") == {"volume data-2 is on node n2, which is down": 1}


def test_a_foreign_port_keeps_a_slot_away() -> None:
    mesh = three_nodes()
    mesh.agents["n1"].ports_taken = (BoundPort(target=80, published=8080),)
    mesh.deploy(service_spec("edge", ports=(8080,)), replicas=3)
    mesh.run(2)
    assert mesh.running("edge") == {"1": "n2", "2": "n3"}
    assert mesh.reasons("edge") == {"3 nodes: 3 have port 8080/tcp taken": 1}
