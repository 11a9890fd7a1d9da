"""From what is found on a machine to what is wanted: steps, and none once they are done."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from agent.engine.labels import Owner
from agent.engine.model import EngineNetwork
from agent.network.linking import network_plan
from agent.network.model import Bridge, wanted
from agent.network.steps import (
    DropDevice,
    DropNetwork,
    Found,
    MakeNetwork,
    MakeTunnel,
    SetGateway,
    SetPeer,
    SetVirtual,
    Tunnel,
    as_they_stand,
    steps_to,
)
from tests.unit.network.network_cases import answering, view


def bridge() -> Bridge:
    return wanted(view(answering("web", 1)), "n1", ["front"], 1500, frozenset()).bridges[0]


def as_made(one: Bridge) -> Found:
    return Found(
        networks={one.engine_name: EngineNetwork(one.engine_name, one.device, one.range, one.mtu)},
        tunnels={one.vxlan: Tunnel(one.vxlan, one.vni, one.tunnel, one.device, one.mtu, one.peers)},
        virtual={one.vips: one.device},
        bridges=frozenset({one.device}),
    )


def test_nothing_is_done_where_all_is_as_wanted() -> None:
    assert steps_to([bridge()], as_made(bridge())) == ()


def test_a_network_keeps_its_mtu_while_it_stands_though_the_interface_got_another() -> None:
    one = bridge()
    smaller = wanted(view(answering("web", 1)), "n1", ["front"], 1300, frozenset()).bridges[0]
    assert smaller.mtu < one.mtu
    found = as_made(one)
    assert as_they_stand([smaller], found.networks) == (one,)
    assert steps_to(as_they_stand([smaller], found.networks), found) == ()
    assert as_they_stand([smaller], {}) == (smaller,)
    asked = replace(smaller, mtu_found=False)
    assert as_they_stand([asked], found.networks) == (asked,)
    elsewhere = replace(smaller, range="10.192.9.0/24")
    assert as_they_stand([elsewhere], found.networks) == (elsewhere,)


def test_an_empty_machine_gets_network_tunnel_peers_and_virtual_range_in_that_order() -> None:
    told = [type(step).__name__ for step in steps_to([bridge()], Found())]
    assert told == ["MakeNetwork", "MakeTunnel", "SetPeer", "SetPeer", "SetVirtual"]


def test_what_is_not_wanted_goes_tunnel_first() -> None:
    assert steps_to([], as_made(bridge())) == (DropDevice("vx-m1000"), DropNetwork("mesh.front"))


def test_a_bridge_that_no_network_of_the_engine_has_is_removed() -> None:
    assert steps_to([], Found(bridges=frozenset({"br-m1003"}))) == (DropDevice("br-m1003"),)


def test_a_tunnel_from_an_old_address_of_this_machine_is_made_anew_with_all_peers() -> None:
    moved = replace(bridge(), tunnel="192.168.0.99")
    steps = steps_to([moved], as_made(bridge()))
    assert steps[:2] == (DropDevice("vx-m1000"), MakeTunnel(moved))
    assert {step.peer for step in steps if isinstance(step, SetPeer) and step.present} == moved.peers


def test_a_bridge_that_has_lost_its_address_gets_it_back_before_the_virtual_range_that_went_with_it() -> None:
    one = bridge()
    bare = replace(as_made(one), addresses={one.device: frozenset({"10.0.0.1"})}, virtual={})
    assert steps_to([one], bare) == (SetGateway(one), SetVirtual(one.device, one.vips, present=True))
    assert steps_to([one], replace(as_made(one), addresses={one.device: frozenset({one.gateway})})) == ()


def test_a_peer_that_moves_is_followed() -> None:
    moved = replace(bridge(), peers=frozenset({"192.168.0.2", "192.168.0.7"}))
    assert steps_to([moved], as_made(bridge())) == (
        SetPeer("vx-m1000", "192.168.0.3", present=False),
        SetPeer("vx-m1000", "192.168.0.7", present=True),
    )


def test_a_network_with_another_range_is_made_anew() -> None:
    other = replace(bridge(), range="10.192.7.0/24")
    steps = steps_to([other], as_made(bridge()))
    assert steps[:2] == (DropNetwork("mesh.front"), MakeNetwork(other))


@given(st.sets(st.sampled_from(["192.168.0.2", "192.168.0.3", "192.168.0.4"])))
def test_peers_come_to_what_is_wanted_from_anywhere(there: set[str]) -> None:
    one = bridge()
    found = as_made(one)
    found = replace(found, tunnels={one.vxlan: replace(found.tunnels[one.vxlan], peers=frozenset(there))})
    for step in steps_to([one], found):
        assert isinstance(step, SetPeer)
        there = there | {step.peer} if step.present else there - {step.peer}
    assert there == one.peers


def test_no_tunnel_leads_to_this_machine_itself() -> None:
    """Another node tells an address that is this one's, such as that of docker0: its packets would come back."""
    one = bridge()
    assert one.peers
    mine = next(iter(one.peers))
    found = replace(as_made(one), own=frozenset({mine}))
    assert steps_to([one], found) == (SetPeer(one.vxlan, mine, present=False),)
    left = replace(found.tunnels[one.vxlan], peers=one.peers - {mine})
    assert steps_to([one], replace(found, tunnels={one.vxlan: left})) == ()


def test_a_node_without_an_end_of_its_own_has_its_networks_for_itself() -> None:
    one = replace(bridge(), tunnel="")
    assert [type(step) for step in steps_to([one], Found())] == [MakeNetwork, SetVirtual]
    assert steps_to([one], as_made(bridge())) == (DropDevice(one.vxlan),)
    assert steps_to([one], replace(as_made(bridge()), tunnels={})) == ()


def test_the_engine_gives_out_neither_end_of_a_range() -> None:
    plan = network_plan(bridge(), Owner("m", "n1"))
    assert dict(plan.reserved) == {"first": "10.192.1.0", "last": "10.192.1.255"}
    assert plan.labels["mesh.network"] == "front"
