"""What would come of a change: the same `plan`, played ahead on a copy; nothing that stands is touched."""

from __future__ import annotations

import msgspec

from controller.whatif import Foresight, foresee
from schemas import subjects
from schemas.records import RevisionRecord
from schemas.spec import ServiceSpec, UpdatePolicy
from schemas.wire import Wire
from tests.unit.controller.model import Mesh, service_spec, three_nodes


def ahead_of(mesh: Mesh, spec: ServiceSpec, replicas: int = 3) -> Foresight:
    """What a deploy of `spec` would come to."""
    other = Mesh(**{name: getattr(mesh, name) for name in ("sequence",)})
    other.services, other.revisions = dict(mesh.services), dict(mesh.revisions)
    other.deploy(spec, replicas)
    record = other.services[spec.name].record
    records: list[tuple[str, Wire]] = [
        (subjects.service_key(spec.name), record),
        (subjects.revision_key(spec.name, record.target), RevisionRecord(number=record.target, spec=spec)),
    ]
    ahead = foresee(mesh.world(), records, [spec.name], mesh.now)
    for _ in range(300):
        if not ahead.step():
            return ahead
    raise AssertionError("it does not settle")


def test_a_new_service_is_placed_as_the_leader_would_place_it() -> None:
    mesh = three_nodes()
    ahead = ahead_of(mesh, service_spec(), 4)
    foreseen = {(each.slot, each.node): each.why for each in ahead.starts}
    mesh.deploy(service_spec(), 4)
    mesh.settle()
    assert dict(foreseen.keys()) == mesh.running()
    assert all("3 of 3 nodes fit" in why for why in foreseen.values())
    assert ahead.ends == ()


def test_a_changed_service_is_replaced_turn_by_turn_without_waiting_for_times() -> None:
    mesh = three_nodes()
    slow = UpdatePolicy(monitor=600.0, delay=3600.0)
    mesh.deploy(msgspec.structs.replace(service_spec(), update=slow), 3)
    mesh.settle(steps=200, seconds=20.0)
    before = mesh.world()
    kept = {name: getattr(before, name) for name in ("services", "assignments", "rollouts", "observations")}
    copies = {name: dict(value) for name, value in kept.items()}
    ahead = ahead_of(mesh, msgspec.structs.replace(service_spec(image="web:2"), update=slow))
    assert sorted(each.slot for each in ahead.ends) == ["1", "2", "3"]
    assert sorted(each.slot for each in ahead.starts) == ["1", "2", "3"]
    assert all(each.why.startswith("replaced by revision 2") for each in ahead.ends)
    assert {name: dict(value) for name, value in kept.items()} == copies, "what stands is left alone"


def test_what_finds_no_place_is_told_with_its_reason_and_takes_nothing_down() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec(), 3)
    mesh.settle()
    ahead = ahead_of(mesh, service_spec(memory=1 << 50))
    assert (ahead.starts, ahead.ends) == ((), ())
    assert any("lack memory" in reason.text for reason in ahead.waits("web"))


def test_a_node_that_is_down_gets_nothing() -> None:
    mesh = three_nodes()
    mesh.kill("n2")
    mesh.run(5.0)
    ahead = ahead_of(mesh, service_spec(), 6)
    assert {each.node for each in ahead.starts} == {"n1", "n3"}
    assert len(ahead.starts) == 6
