"""What the leader allots to networks."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import networks
from controller.networks import Needs, Taken, allot, ceiling, refusal
from controller.tunnels import Tunnel
from schemas.network import AllocationRecord, NetworkRecord

FRONT = NetworkRecord(name="front")
NODES = {"n1": Tunnel("192.168.0.1"), "n2": Tunnel("192.168.0.2")}


def first(services: tuple[str, ...] = ("web",), taken: Taken | None = None) -> AllocationRecord:
    return allot(FRONT, None, Needs(NODES, frozenset(services)), taken or Taken())


def test_a_network_gets_a_subnet_ranges_and_addresses_that_lie_in_it_and_apart() -> None:
    record = first(("db", "web"))
    subnet, vips = IPv4Network(record.subnet), IPv4Network(record.vips)
    ranges = [IPv4Network(held.range) for held in record.nodes.values()]
    assert record.vni == 1000
    assert all(each.subnet_of(subnet) and not each.overlaps(vips) for each in ranges)
    assert not ranges[0].overlaps(ranges[1])
    assert set(record.services) == {"db", "web"}
    assert len(set(record.services.values())) == 2


def test_nothing_is_renumbered_when_others_come_and_go() -> None:
    record = first()
    grown = allot(FRONT, record, Needs({**NODES, "n0": Tunnel("192.168.0.9")}, frozenset({"api", "web"})), Taken())
    assert {name: grown.nodes[name] for name in NODES} == record.nodes
    assert grown.services["web"] == record.services["web"]
    shrunk = allot(FRONT, grown, Needs({"n1": NODES["n1"]}, frozenset({"web"})), Taken())
    assert shrunk.nodes == grown.nodes, "a range stays with its node"
    assert shrunk.services == record.services


def test_a_node_that_was_removed_gives_its_range_back() -> None:
    record = allot(FRONT, first(), Needs({"n1": NODES["n1"]}, frozenset(), removed=frozenset({"n2"})), Taken())
    assert set(record.nodes) == {"n1"}


def test_a_node_that_is_only_unknown_keeps_its_range_until_there_is_no_other() -> None:
    small = NetworkRecord(name="front", subnet="10.200.0.0/22", node_prefix=24)
    fresh = {"n3": Tunnel("192.168.0.3")}
    assert ceiling(IPv4Network(small.subnet), small.node_prefix) == 3
    before = allot(small, None, Needs({"n1": NODES["n1"], "n2": NODES["n2"]}), Taken())
    beside = allot(small, before, Needs(fresh), Taken())
    assert {name: beside.nodes[name] for name in before.nodes} == before.nodes
    full = allot(small, beside, Needs({**fresh, "n4": Tunnel("192.168.0.4")}, idle={"n2": NODES["n2"]}), Taken())
    assert full.nodes["n4"].range == before.nodes["n2"].range, "a member that does not need it gives its range first"
    last = allot(small, full, Needs({**fresh, "n4": Tunnel("192.168.0.4"), "n5": Tunnel("192.168.0.5")}), Taken())
    assert last.nodes["n5"].range == before.nodes["n1"].range


def test_a_node_that_changes_its_address_keeps_its_range() -> None:
    before = first()
    after = allot(FRONT, before, Needs({**NODES, "n1": Tunnel("192.168.0.77")}), Taken())
    assert after.nodes["n1"].tunnel == "192.168.0.77"
    assert after.nodes["n1"].range == before.nodes["n1"].range


def test_what_machines_route_is_kept_clear_of() -> None:
    taken = Taken(routes={"10.192.0.0/15": "n3"})
    assert IPv4Network(first(taken=taken).subnet).overlaps(IPv4Network("10.192.0.0/15")) is False
    record = allot(NetworkRecord(name="x", subnet="10.193.0.0/16"), None, Needs(NODES), taken)
    assert record.subnet == ""
    assert record.why == "10.193.0.0/16 overlaps 10.192.0.0/15, which n3 routes"


@given(
    st.lists(
        st.builds(
            lambda number, prefix: str(IPv4Network((number, prefix), strict=False)),
            st.integers(int(IPv4Address("10.120.0.0")), int(IPv4Address("11.8.0.0"))),
            st.integers(6, 32),
        ),
        max_size=40,
    )
)
def test_the_subnet_that_is_found_is_the_first_that_would_not_be_refused(others: list[str]) -> None:
    taken = Taken(subnets=frozenset(others[::2]), routes=dict.fromkeys(others[1::2], "n3"))
    pool = [*IPv4Network("10.192.0.0/10").subnets(new_prefix=16), *IPv4Network("10.128.0.0/10").subnets(new_prefix=16)]
    first_free = next((str(each) for each in pool if not refusal(str(each), 24, taken)), "")
    assert allot(FRONT, None, Needs({}), taken).subnet == first_free


def test_what_very_many_machines_route_is_looked_at_once_for_a_subnet(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[object] = []

    class Counted(IPv4Network):
        def __init__(self, text: object) -> None:
            parsed.append(text)
            super().__init__(text)  # type: ignore[arg-type]

    routes = [f"10.{128 + number // 2}.{128 * (number % 2)}.0/17" for number in range(256)]
    monkeypatch.setattr(networks, "IPv4Network", Counted)
    record = allot(FRONT, None, Needs({}), Taken(routes=dict.fromkeys(routes, "n3")))
    assert "no subnet" in record.why
    assert sorted(str(each) for each in parsed if each in routes) == sorted(routes)


def test_a_subnet_that_can_not_be_is_refused_with_the_reason() -> None:
    assert "no IPv4 subnet" in refusal("nonsense", 24, Taken())
    assert "IPv6" in refusal("fd00::/64", 24, Taken())
    assert "no room" in refusal("10.0.0.0/24", 24, Taken())
    assert "of another network" in refusal("10.0.0.0/16", 24, Taken(subnets=frozenset({"10.0.0.0/8"})))
    assert refusal("10.0.0.0/16", 24, Taken()) == ""


def test_the_ceiling_of_nodes_is_stated_and_held() -> None:
    assert ceiling(IPv4Network("10.0.0.0/16"), 24) == 223
    small = NetworkRecord(name="small", subnet="10.0.0.0/24", node_prefix=27)
    many = {f"n{number}": Tunnel(f"192.168.0.{number}") for number in range(1, 9)}
    record = allot(small, None, Needs(many), Taken())
    assert len(record.nodes) == ceiling(IPv4Network("10.0.0.0/24"), 27) == 6
    assert len(record.without) == 2
    assert "all 6 ranges" in record.without["n7"]


def test_a_full_network_takes_the_range_of_a_node_that_needs_it_no_more() -> None:
    small = NetworkRecord(name="small", subnet="10.0.0.0/24", node_prefix=27)
    full = allot(small, None, Needs({f"n{n}": Tunnel(f"192.168.0.{n}") for n in range(1, 7)}), Taken())
    after = allot(small, full, Needs({"n2": Tunnel("192.168.0.2"), "n9": Tunnel("192.168.0.9")}), Taken())
    assert "n9" in after.nodes
    assert "n1" not in after.nodes


def test_a_node_that_needs_it_no_more_does_not_keep_an_old_address() -> None:
    moved = {name: Tunnel("") if name == "n2" else tunnel for name, tunnel in NODES.items()}
    after = allot(FRONT, first(), Needs({"n1": NODES["n1"]}, idle=moved), Taken())
    assert after.nodes["n2"].tunnel == ""
    assert after.nodes["n2"].range == first().nodes["n2"].range
    assert after.without == {}


def test_a_node_without_an_address_gets_none_and_is_told_why() -> None:
    record = allot(FRONT, None, Needs({"n1": Tunnel("", "it tells none"), "n2": NODES["n2"]}), Taken())
    assert record.without == {"n1": "it tells none"}
    assert set(record.nodes) == {"n2"}
    kept = allot(FRONT, record, Needs({"n2": Tunnel("192.168.0.2", "it tells nonsense")}), Taken())
    assert kept.nodes == record.nodes
    assert kept.without == {"n2": "it tells nonsense"}


@given(st.lists(st.sets(st.sampled_from(["n1", "n2", "n3", "n4"])), max_size=6))
def test_no_two_nodes_ever_share_a_range(rounds: list[set[str]]) -> None:
    record: AllocationRecord | None = None
    for needed in rounds:
        record = allot(FRONT, record, Needs(dict.fromkeys(needed, Tunnel("192.168.0.1"))), Taken())
        ranges = [held.range for held in record.nodes.values()]
        assert len(set(ranges)) == len(ranges)
        assert needed <= record.nodes.keys()
        assert allot(FRONT, record, Needs(dict.fromkeys(needed, Tunnel("192.168.0.1"))), Taken()) == record
