"""What a node keeps of the leader's records, and what it lets go."""

from __future__ import annotations

from agent.network.entries import with_entry, without_superseded
from agent.network.model import View
from bus.port import Entry
from schemas.network import AllocationRecord, Backend, EndpointsRecord
from schemas.wire import Wire, encode
from tests.unit.network import network_cases


def entry(key: str, record: Wire, sequence: int) -> Entry:
    return Entry(key, encode(record), sequence, 0.0)


def endpoints(service: str, sequence: int) -> Entry:
    backend = Backend(task=f"{service}-1", node="n1", address="10.192.1.2")
    record = EndpointsRecord(network="front", service=service, vip="10.192.224.1", backends=(backend,))
    return entry(f"endpoints.front.{service}", record, sequence)


def allotment(sequence: int, *services: str, network: str = "front") -> Entry:
    record = AllocationRecord(network=network, vni=1000, services=dict.fromkeys(services, "10.192.224.1"))
    return entry(f"alloc.{network}", record, sequence)


def view_of(*entries: Entry) -> View:
    view = View()
    for each in entries:
        view = with_entry(view, each)
    return view


def test_a_service_that_a_later_allotment_does_not_have_is_let_go() -> None:
    """Its tombstone was missed, and its virtual address is another's by now."""
    view = view_of(endpoints("web", 5), allotment(9, "api"), endpoints("api", 10))
    assert sorted(view.endpoints) == ["front.api"]


def test_what_came_after_the_allotment_or_is_on_another_network_stays() -> None:
    view = view_of(endpoints("web", 12), allotment(9, "api"), allotment(20, "db", network="back"))
    assert sorted(view.endpoints) == ["front.web"]


def test_a_service_that_is_allotted_stays() -> None:
    assert sorted(view_of(endpoints("web", 5), allotment(9, "web")).endpoints) == ["front.web"]


def test_what_a_lost_store_allotted_goes_where_that_of_now_has_given_its_number_or_subnet_to_another() -> None:
    old, other = network_cases.allotment("old", 1000, 192), network_cases.allotment("other", 1001, 193)
    for new in (network_cases.allotment("new", 1000, 200), network_cases.allotment("new", 1002, 192)):
        held = View(allocations={"old": old, "other": other, "new": new}, sequences={"alloc.old": 0, "alloc.new": 7})
        assert set(without_superseded(held, frozenset()).allocations) == {"other", "new"}, "another collides with none"
        assert without_superseded(held, frozenset({"old"})) is held, "a task is on it"


def test_what_nothing_collides_with_stands_and_so_does_what_is_stored() -> None:
    old, new = network_cases.allotment("old", 1000, 192), network_cases.allotment("new", 1000, 192)
    apart = View(allocations={"old": old, "new": network_cases.allotment("new", 1001, 193)}, sequences={"alloc.new": 7})
    assert without_superseded(apart, frozenset()) is apart
    lost = View(allocations={"old": old, "new": new}, sequences={"alloc.old": 0, "alloc.new": 0})
    assert without_superseded(lost, frozenset()) is lost, "nothing has been decided yet"
    stored = View(allocations={"old": old, "new": new}, sequences={"alloc.old": 5, "alloc.new": 7})
    assert without_superseded(stored, frozenset()) is stored
    refused = View(
        allocations={"old": old, "new": AllocationRecord(network="new", why="none is free")}, sequences={"alloc.new": 7}
    )
    assert without_superseded(refused, frozenset()) is refused
