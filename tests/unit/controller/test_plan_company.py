"""Affinity and anti-affinity to services, and spread over labels at several levels."""

from __future__ import annotations

from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.controller.model import Mesh, service_spec, three_nodes


def test_a_service_is_not_placed_where_one_runs_that_it_avoids_and_says_so() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec("db"), 2)
    mesh.settle()
    mesh.deploy(service_spec("web", avoids=("db",)), 2)
    mesh.step()
    free = {"n1", "n2", "n3"} - set(mesh.running("db").values())
    assert set(mesh.running().values()) == free
    mesh.change_node(free.pop(), availability="pause")
    mesh.change_service("web", replicas=3)
    mesh.step()
    assert mesh.reasons() == {"3 nodes: 2 run service db which web avoids, 1 paused": 1}


def test_avoiding_is_mutual() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec("web", avoids=("db",)), 3)
    mesh.settle()
    mesh.deploy(service_spec("db"), 1)
    mesh.step()
    assert mesh.reasons("db") == {"3 nodes: 3 run service web which avoids db": 1}


def test_a_service_that_avoids_itself_is_once_on_a_node_and_can_be_updated() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec("web", avoids=("web",)), 4)
    mesh.settle()
    assert sorted(mesh.running().values()) == ["n1", "n2", "n3"]
    assert mesh.reasons() == {"3 nodes: 3 run a task of it already": 1}
    mesh.deploy(service_spec("web", image="web:2", avoids=("web",)), 3)
    mesh.run(60)
    assert mesh.rollouts["web"].phase == "done"
    assert sorted(mesh.running().values()) == ["n1", "n2", "n3"]


def test_a_service_goes_where_the_one_runs_that_it_is_wanted_beside() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec("cache", constraints=("node.id==n2",)), 1)
    mesh.deploy(service_spec("app", affinity=("cache",)), 3)
    mesh.step()
    assert set(mesh.running("app").values()) == {"n2"}, "in the same round, although it comes first by name"
    mesh.deploy(service_spec("web", affinity=("absent",)), 1)
    mesh.step()
    assert mesh.reasons() == {"3 nodes: 3 do not run service absent": 1}


def test_nothing_that_runs_is_moved_for_its_company() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec("cache", constraints=("node.id==n2",)), 1)
    mesh.deploy(service_spec("app", affinity=("cache",)), 2)
    mesh.run(10)
    mesh.change_service("cache", replicas=0)
    mesh.run(10)
    assert set(mesh.running("app").values()) == {"n2"}


def test_a_task_that_is_ending_is_still_avoided_but_no_company() -> None:
    mesh = three_nodes()
    for node in ("n2", "n3"):
        mesh.change_node(node, availability="pause")
    mesh.deploy(service_spec("db"), 1)
    mesh.settle()
    mesh.agents["n1"].slow = True
    mesh.change_service("db", replicas=0)
    mesh.deploy(service_spec("web", avoids=("db",)), 1)
    mesh.deploy(service_spec("app", affinity=("db",)), 1)
    mesh.step()
    assert mesh.assigned() == {}
    assert mesh.assigned("app") == {}


def test_spread_is_even_over_zones_and_within_them_over_racks() -> None:
    mesh = Mesh()
    places = {
        "n1": ("a", "1"),
        "n2": ("a", "1"),
        "n3": ("a", "2"),
        "n4": ("b", "3"),
        "n5": ("b", "3"),
        "n6": ("b", "3"),
    }
    for name, (zone, rack) in places.items():
        mesh.add_node(name, labels={"zone": zone, "rack": rack})
    mesh.round()
    mesh.deploy(service_spec("web", spread=("node.labels.zone", "node.labels.rack")), 8)
    mesh.settle()
    tasks = Counter(mesh.running().values())
    assert Counter(places[node][0] for node in tasks.elements()) == {"a": 4, "b": 4}
    assert Counter(places[node][1] for node in tasks.elements()) == {"1": 2, "2": 2, "3": 4}


deeds = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", "d"]), st.sampled_from(["scale", "update", "remove"]), st.integers(0, 5)),
    max_size=12,
)
avoids = st.fixed_dictionaries({name: st.sets(st.sampled_from("abcd")) for name in "abcd"})


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(avoids=avoids, near=st.sampled_from(["", "a", "b"]), deeds=deeds)
def test_whatever_is_deployed_services_that_avoid_each_other_never_share_a_node(
    avoids: dict[str, set[str]], near: str, deeds: list[tuple[str, str, int]]
) -> None:
    mesh = three_nodes()
    for number, (name, what, count) in enumerate([(name, "update", 2) for name in "abcd"] + deeds):
        if what == "update" or name not in mesh.services:
            affinity = (near,) if name == "d" and near and near not in avoids["d"] else ()
            spec = service_spec(
                name, image=f"{name}:{number % 3}", avoids=tuple(sorted(avoids[name])), affinity=affinity
            )
            mesh.deploy(spec, count)
        else:
            mesh.change_service(name, **({"replicas": count} if what == "scale" else {"removed": True}))
        for _ in range(4):
            mesh.now += 0.4
            mesh.beat()
            mesh.observe()
            mesh.round()
            assert not mesh.round().changes, "a round is final"
            mesh.work()
            for agent in mesh.agents.values():
                there = Counter(task.service for task in agent.live)
                for service, others in avoids.items():
                    shared = [other for other in others if there[service] and there[other] - (other == service)]
                    assert not shared, (agent.name, service, shared)
