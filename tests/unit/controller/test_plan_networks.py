"""What a round of networks costs."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network

import msgspec
import pytest

from controller import networking
from controller.changes import Plan, PutAllocation
from controller.plan import plan
from controller.world import Stored, World
from schemas.network import AllocationRecord, NetworkRecord
from tests.unit.controller.model import EVERYTHING, Mesh

ROUTES = ("0.0.0.0/0", "10.192.0.0/16", "nonsense", *(f"172.16.{number}.0/24" for number in range(100)))


class Parses:
    """Counts what is parsed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        monkeypatch.setattr(networking, "IPv4Network", self._parse)

    def _parse(self, text: str) -> IPv4Network:
        self.count += 1
        return IPv4Network(text)


def world_with(networks: tuple[NetworkRecord, ...], allocations: dict[str, AllocationRecord]) -> World:
    """A node that routes much, and these networks."""
    mesh = Mesh()
    agent = mesh.add_node("n1", networking="")
    agent.facts = msgspec.structs.replace(agent.facts, routes=ROUTES)
    mesh.round()
    mesh.observe()
    return replace(
        mesh.world(), networks={each.name: Stored(each, 5) for each in networks}, allocations=dict(allocations)
    )


def allotted(decided: Plan) -> dict[str, AllocationRecord]:
    return {each.record.network: each.record for each in decided.changes if isinstance(each, PutAllocation)}


def test_what_machines_route_is_reckoned_once_where_networks_are_new_and_never_where_none_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parses = Parses(monkeypatch)
    networks = tuple(NetworkRecord(name=name) for name in ("a", "b", "c"))
    first = allotted(plan(world_with(networks, {}), EVERYTHING, 1000.0))
    assert {name: record.subnet for name, record in first.items()} == {
        "a": "10.193.0.0/16",
        "b": "10.194.0.0/16",
        "c": "10.195.0.0/16",
    }
    assert parses.count == len(ROUTES), "each once"

    parses.count = 0
    assert allotted(plan(world_with(networks, first), EVERYTHING, 1000.0)) == {}
    assert parses.count == 0

    wanted = NetworkRecord(name="d", subnet="172.16.0.0/16")
    more = allotted(plan(world_with((*networks, wanted), first), EVERYTHING, 1000.0))
    assert more["d"].why == "172.16.0.0/16 overlaps 172.16.0.0/24, which n1 routes"
    assert parses.count == len(ROUTES)
