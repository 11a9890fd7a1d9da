"""Services come up, grow, shrink, change and go."""

from __future__ import annotations

from tests.unit.controller.model import service_spec, three_nodes


def test_a_new_service_is_spread_over_the_nodes() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec(), replicas=3)
    mesh.settle()
    assert mesh.running() == {"1": "n1", "2": "n2", "3": "n3"}
    rollout = mesh.rollouts["web"]
    assert (rollout.phase, rollout.running, rollout.wanted, rollout.updated) == ("done", 3, 3, 3)


def test_a_settled_mesh_decides_nothing() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec(), replicas=5)
    mesh.settle()
    for _ in range(20):
        assert mesh.step(0.4).changes == ()
