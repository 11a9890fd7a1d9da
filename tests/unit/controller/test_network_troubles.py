"""What people are told of networks that do not work."""

from __future__ import annotations

from bus.port import Entry
from controller.network_troubles import network_troubles
from controller.records import Records
from schemas.network import AllocationRecord, Publication, PublishRecord
from schemas.observation import Observation
from schemas.records import NodeRecord
from schemas.wire import Wire, encode


def records(**kept: Wire) -> Records:
    made = Records()
    for number, (key, record) in enumerate(kept.items(), 1):
        made.apply(Entry(key.replace("__", "."), encode(record), number, 0.0))
    return made


def observed(node: str, **troubles: str) -> Observation:
    return Observation(node=node, instance="i", boot="b", counter=1, troubles=troubles)


WEB = PublishRecord(
    ports=(Publication(published=8080, target=80, service="web", network="front"),),
    refused={"api": "port 8080 is web's"},
)
NODES = {f"node__n{number}": NodeRecord(name=f"n{number}", instance="i") for number in (1, 2)}


def test_a_taken_port_is_told_with_its_service_and_all_nodes_where_it_is() -> None:
    taken = {"8080/tcp": "port 8080/tcp is taken on this node"}
    found = network_troubles(
        records(endpoints__publish=WEB, **NODES),
        {"n1": observed("n1", **taken), "n2": observed("n2", **taken), "gone": observed("gone", **taken)},
    )
    assert found == {
        "web": ("port 8080/tcp is taken on this node (on n1, n2)",),
        "api": ("port 8080 is web's",),
    }


def test_what_the_leader_could_not_give_is_told() -> None:
    front = AllocationRecord(network="front", why="all networks are in use", without={"n2": "it tells no address"})
    found = network_troubles(records(alloc__front=front), {})
    assert found[""] == ("network front: all networks are in use", "network front: it tells no address (on n2)")
