"""From the leader's records to what a machine is to have."""

from __future__ import annotations

from agent.network.model import Shares, View, mesh_addresses, wanted
from schemas.network import Publication
from tests.unit.network.network_cases import answering, view

NONE = frozenset[tuple[str, int]]()
WEB = Publication(published=8080, target=80, service="web", network="front")


def test_a_node_without_tasks_on_a_network_has_nothing_of_it() -> None:
    assert wanted(view(answering("web", 1)), "n1", (), 1500, NONE).bridges == ()


def test_a_bridge_has_the_nodes_own_range_and_all_others_as_peers() -> None:
    (bridge,) = wanted(view(answering("web", 1)), "n2", ["front"], 1500, NONE).bridges
    assert (bridge.device, bridge.vxlan, bridge.engine_name) == ("br-m1000", "vx-m1000", "mesh.front")
    assert (bridge.range, bridge.gateway, bridge.tunnel) == ("10.192.2.0/24", "10.192.2.1", "192.168.0.2")
    assert bridge.peers == {"192.168.0.1", "192.168.0.3"}
    assert bridge.mtu == 1450


def test_a_network_that_is_not_allotted_to_the_node_waits() -> None:
    assert wanted(view(), "n9", ["front"], 1500, NONE).bridges == ()
    assert wanted(View(), "n1", ["front"], 1500, NONE).bridges == ()


def test_a_published_port_brings_its_network_to_every_node() -> None:
    found = wanted(view(answering("web", 1), ports=(WEB,)), "n3", (), 1500, NONE)
    assert [bridge.network for bridge in found.bridges] == ["front"]
    assert found.rules.ports == {("tcp", 8080): (("10.192.1.2", 80),)}


def test_a_port_that_somebody_else_has_on_this_machine_is_left_alone() -> None:
    found = wanted(view(answering("web", 1), ports=(WEB,)), "n3", (), 1500, frozenset({("tcp", 8080)}))
    assert not found.rules.ports
    assert found.ports == {("tcp", 8080)}


def test_a_local_port_only_sends_to_tasks_of_the_node() -> None:
    local = Publication(published=8080, target=80, service="web", network="front", local=True)
    records = view(answering("web", 1, 2), ports=(local,))
    assert wanted(records, "n1", (), 1500, NONE).rules.ports == {("tcp", 8080): (("10.192.1.2", 80),)}
    assert not wanted(records, "n3", (), 1500, NONE).rules.ports


def test_only_services_with_somebody_behind_them_have_a_virtual_address() -> None:
    rules = wanted(view(answering("web", 1, 2), answering("db")), "n1", ["front"], 1500, NONE).rules
    assert rules.services == {("br-m1000", "10.192.224.1"): ("10.192.1.2", "10.192.2.2")}


def test_own_tasks_see_their_callers_but_not_on_internal_networks_which_have_no_way_back() -> None:
    records = view(answering("web", 1), answering("db", 1, network="back", second=193))
    rules = wanted(records, "n1", ["front", "back"], 1500, NONE).rules
    assert rules.own == {"10.192.1.2"}
    assert rules.local == {"10.192.1.2", "10.193.1.2"}


def test_networks_stay_apart_in_the_rules() -> None:
    records = view(answering("web", 1), answering("db", 1, network="back", second=193))
    rules = wanted(records, "n1", ["front", "back"], 1500, NONE).rules
    assert set(rules.services) == {("br-m1000", "10.192.224.1"), ("br-m1001", "10.193.224.2")}


def test_addresses_on_networks_of_others_are_not_told() -> None:
    assert mesh_addresses({"mesh.front": "10.1.0.2", "bridge": "172.17.0.2"}) == {"front": "10.1.0.2"}


def test_shares_of_the_last_time_change_nothing_of_what_is_wanted() -> None:
    shares = Shares("n1")
    for records in (
        view(answering("web", 1, 2), answering("db", 1), ports=(WEB,)),
        view(answering("web", 2, 3), answering("db", 1), ports=(WEB,)),
        view(answering("web", 3), ports=(WEB,)),
        view(answering("db", 1, 2)),
        view(answering("web", 1), answering("db"), ports=(WEB,)),
    ):
        assert wanted(records, "n1", ["front"], 1500, NONE, shares) == wanted(records, "n1", ["front"], 1500, NONE)
        assert wanted(records, "n1", ["front"], 1500, NONE, shares) == wanted(records, "n1", ["front"], 1500, NONE)
    assert len(shares._made) == 2, "what is no more is forgotten"
