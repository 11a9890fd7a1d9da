"""Where tunnels end: what agents tell of their address is not taken as it comes."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from controller.nodes import NodeView
from controller.tunnels import Tunnel, tunnels_of
from schemas.network import AllocationRecord, NodeRange, tunnel_refusal
from schemas.observation import NodeFacts, Observation
from schemas.records import NodeRecord


def member(name: str, address: str, joined_at: float = 0.0, networking: str = "") -> NodeView:
    facts = NodeFacts(address=address, networking=networking)
    observation = Observation(node=name, instance=name, boot="b", counter=1, facts=facts)
    record = NodeRecord(name=name, instance=name, joined_at=joined_at)
    return NodeView(name=name, record=record, status="ready", observation=observation, settled=True)


def members(*views: NodeView) -> dict[str, NodeView]:
    return {view.name: view for view in views}


def allotted(**tunnels: str) -> tuple[AllocationRecord]:
    nodes = {name: NodeRange(range="", gateway="", tunnel=tunnel) for name, tunnel in tunnels.items()}
    return (AllocationRecord(network="front", nodes=nodes),)


def addresses(found: dict[str, Tunnel]) -> dict[str, str]:
    return {name: tunnel.address for name, tunnel in found.items()}


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("nonsense", "is no IPv4 address"),
        ("::1", "is no IPv4 address"),
        ("2001:db8::1", "is no IPv4 address"),
        ("10.0.0.2\n", "is no IPv4 address"),
        ("10.0.0.2/24", "is no IPv4 address"),
        ("010.0.0.2", "is no IPv4 address"),
        ("127.0.0.1", "is reached by nobody else"),
        ("0.0.0.0", "is reached by nobody else"),
        ("239.1.1.1", "is not the address of one machine"),
        ("255.255.255.255", "is not the address of one machine"),
    ],
)
def test_what_can_be_no_end_is_not_told_to_others(address: str, why: str) -> None:
    assert tunnel_refusal(address) == why
    found = tunnels_of(members(member("n1", address), member("n2", "10.0.0.2")), ())
    assert found["n1"].address == ""
    assert why in found["n1"].why
    assert "--address" in found["n1"].why
    assert found["n2"] == Tunnel("10.0.0.2")


def test_of_a_wrong_address_little_is_told_again() -> None:
    assert len(tunnels_of(members(member("n1", "x" * 1_000_000)), ())["n1"].why) < 250


@pytest.mark.parametrize("address", ["10.0.0.2", "192.0.2.1", "169.254.7.7", "100.64.0.1", "8.8.8.8"])
def test_what_may_be_an_end_is_taken(address: str) -> None:
    assert tunnels_of(members(member("n1", address)), ()) == {"n1": Tunnel(address)}


def test_a_node_does_not_get_the_address_of_another_that_has_it() -> None:
    """Nor does it lose its own, by which it is reached."""
    nodes = members(member("n1", "10.0.0.2", joined_at=1.0), member("n2", "10.0.0.2", joined_at=2.0))
    found = tunnels_of(nodes, allotted(n1="10.0.0.1", n2="10.0.0.2"))
    assert addresses(found) == {"n1": "10.0.0.1", "n2": "10.0.0.2"}
    assert "that of n2" in found["n1"].why
    assert found["n2"].why == ""
    assert addresses(tunnels_of(nodes, allotted(n2="10.0.0.2"))) == {"n1": "", "n2": "10.0.0.2"}


def test_a_node_does_not_get_the_address_of_one_that_is_on_no_network_yet() -> None:
    nodes = members(member("n1", "10.0.0.2", joined_at=1.0), member("n2", "10.0.0.2", joined_at=2.0))
    found = tunnels_of(nodes, allotted(n1="10.0.0.1"))
    assert addresses(found) == {"n1": "10.0.0.1", "n2": "10.0.0.2"}


def test_of_two_that_have_none_yet_the_one_that_joined_first_gets_it() -> None:
    nodes = members(member("n1", "10.0.0.2", joined_at=2.0), member("n2", "10.0.0.2", joined_at=1.0))
    assert addresses(tunnels_of(nodes, ())) == {"n1": "", "n2": "10.0.0.2"}
    assert tunnels_of(dict(reversed(nodes.items())), ()) == tunnels_of(nodes, ())


def test_one_that_can_have_no_networks_keeps_nobody_from_its_address() -> None:
    """Two agents may share a machine of which only one has networks."""
    nodes = members(member("n1", "10.0.0.2", networking="no nft"), member("n2", "10.0.0.2"))
    assert addresses(tunnels_of(nodes, ())) == {"n1": "", "n2": "10.0.0.2"}


def test_nodes_may_move_and_change_their_addresses() -> None:
    nodes = members(member("n1", "10.0.0.2"), member("n2", "10.0.0.1"), member("n3", "10.0.0.9"))
    found = tunnels_of(nodes, allotted(n1="10.0.0.1", n2="10.0.0.2", n3="10.0.0.3"))
    assert found == {"n1": Tunnel("10.0.0.2"), "n2": Tunnel("10.0.0.1"), "n3": Tunnel("10.0.0.9")}


def test_who_tells_nothing_for_a_moment_keeps_what_it_had() -> None:
    nodes = members(member("n1", ""), member("n2", "10.0.0.1"), member("n3", ""))
    found = tunnels_of(nodes, allotted(n1="10.0.0.1"))
    assert found["n1"] == Tunnel("10.0.0.1")
    assert addresses(found) == {"n1": "10.0.0.1", "n2": "", "n3": ""}
    assert "--address" in found["n3"].why


def test_who_tells_nonsense_keeps_what_it_had_and_the_reason_is_told() -> None:
    found = tunnels_of(members(member("n1", "nonsense")), allotted(n1="10.0.0.1"))
    assert found["n1"].address == "10.0.0.1"
    assert "nonsense" in found["n1"].why


def test_what_is_kept_is_never_what_another_has_got_meanwhile() -> None:
    nodes = members(member("n1", "10.0.0.2", 1.0), member("n2", "10.0.0.2", 2.0), member("n3", "10.0.0.1", 3.0))
    found = tunnels_of(nodes, allotted(n1="10.0.0.1", n2="10.0.0.2"))
    assert addresses(found) == {"n1": "", "n2": "10.0.0.2", "n3": "10.0.0.1"}


def test_what_was_allotted_before_addresses_were_looked_at_is_put_right() -> None:
    nodes = members(member("n1", "nonsense"), member("n2", "10.0.0.2", 2.0), member("n3", "10.0.0.2", 3.0))
    found = tunnels_of(nodes, allotted(n1="nonsense", n2="10.0.0.2", n3="10.0.0.2"))
    assert addresses(found) == {"n1": "", "n2": "10.0.0.2", "n3": ""}


def test_ends_are_the_same_once_they_are_allotted() -> None:
    told = ["", "nonsense", "10.0.0.1", "10.0.0.2"]
    for first in told:
        for second in told:
            for third in told:
                nodes = members(member("n1", first, 3.0), member("n2", second, 2.0), member("n3", third, 1.0))
                for before in (allotted(), allotted(n1="10.0.0.1"), allotted(n1="10.0.0.1", n3="10.0.0.2")):
                    (record,) = before
                    once = tunnels_of(nodes, before)
                    ends = [tunnel.address for tunnel in once.values() if tunnel.address]
                    assert len(set(ends)) == len(ends), "no two have the same"
                    held = {
                        name: NodeRange(range="", gateway="", tunnel=tunnel.address)
                        for name, tunnel in once.items()
                        if name in record.nodes or tunnel.address
                    }
                    again = tunnels_of(nodes, (msgspec.structs.replace(record, nodes=held),))
                    assert again == once, (first, second, third, before)


def test_a_machine_that_has_another_name_by_now_gets_the_address_of_the_one_that_is_down() -> None:
    """Reinstalled before the old one was removed; or the address was given to another machine."""
    down = replace(member("n1", "10.0.0.1"), status="down")
    both = members(down, member("n1b", "10.0.0.1", joined_at=1.0))
    found = tunnels_of(both, allotted(n1="10.0.0.1"))
    assert addresses(found) == {"n1": "", "n1b": "10.0.0.1"}
    again = tunnels_of(both, allotted(n1="", n1b="10.0.0.1"))
    assert addresses(again) == addresses(found)
    assert tunnels_of(members(down), allotted(n1="10.0.0.1")) == {"n1": Tunnel("10.0.0.1")}
