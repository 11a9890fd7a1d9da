"""What a node keeps of the leader's records, and what it lets go."""

from __future__ import annotations

from agent.network.entries import with_entry
from agent.network.model import View
from bus.port import Entry
from schemas.network import AllocationRecord, Backend, EndpointsRecord
from schemas.wire import Wire, encode


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
