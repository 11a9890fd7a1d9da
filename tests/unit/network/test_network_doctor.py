"""What a doctor tries, and what is said of what came of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.network.doctor import Doctor, State
from agent.network.findings import Peer, Tried, of_machine, of_mtu, of_peer, of_routes
from agent.network.memory import MemoryMachine
from agent.network.model import wanted
from agent.network.port import Examination
from schemas.network import Publication
from schemas.nodeapi import Diagnose, Finding
from tests.unit.network.network_cases import answering, view

PEER = Peer("n2", "front", "10.192.2.1", "192.168.0.2")
RECORDS = view(answering("web", 1, 2), ports=(Publication(published=8080, target=80, service="web", network="front"),))
STATE = State(RECORDS, wanted(RECORDS, "n1", ["front"], 1500, frozenset()))
ASKED = Diagnose(peers=("n1", "n2", "n3"))


def bad(found: list[Finding] | tuple[Finding, ...]) -> list[tuple[str, str]]:
    return [(finding.check, finding.peer) for finding in found if not finding.ok]


async def examined(machine: MemoryMachine, state: State = STATE) -> tuple[Finding, ...]:
    return (await Doctor("n1", machine, "", lambda: state).examine(ASKED)).findings


@pytest.mark.parametrize(
    ("tried", "check", "says", "helps"),
    [
        (Tried("silent", neighbour=False), "tunnel", "tunnel packets do not get through", "UDP port 4789"),
        (Tried("unreachable", neighbour=False, underlay="silent"), "tunnel", "does not answer at all", "--address"),
        (Tried("silent", neighbour=True), "tunnel", "n2 drops what is sent to its address", "iptables -I INPUT"),
        (Tried("refused", names="silent"), "names", "does not answer at 10.192.2.1:53", "port 53"),
        (Tried("refused", full="silent"), "mtu", "packets of 1450 bytes", "MTU of 1500"),
        (Tried("refused", full="too large"), "mtu", "packets of 1450 bytes", "MTU of 1500"),
        (Tried("refused", ports={8080: "refused"}), "publish", "n2 refuses connections to 8080", "of n2 itself"),
        (Tried("refused", ports={8080: "silent"}), "publish", "192.168.0.2:8080", "TCP port 8080"),
    ],
)
def test_each_failure_is_told_with_what_helps(tried: Tried, check: str, says: str, helps: str) -> None:
    (finding,) = (each for each in of_peer("192.168.0.1", 1450, PEER, tried) if not each.ok)
    assert (finding.check, finding.peer, finding.network) == (check, "n2", "front")
    assert says in finding.why
    assert helps in finding.hint


@pytest.mark.parametrize("name", ["bridge_nf", "forwarding", "chain_first", "table", "tunnel_port"])
def test_what_the_mesh_relies_on_is_told_when_it_is_gone(name: str) -> None:
    (finding,) = (each for each in of_machine(replace(Examination(), **{name: False})) if not each.ok)
    assert finding.why
    assert finding.hint


def test_an_interface_that_became_too_small_and_a_route_that_meets_the_network_are_told() -> None:
    (bridge,) = STATE.wanted.bridges
    assert of_mtu(bridge, 1500).ok
    assert "--mtu 1350" in of_mtu(bridge, 1400).hint
    assert of_routes(bridge, ["10.0.0.0/24", "0.0.0.0/0"]).ok
    assert "routes 10.192.7.0/24" in of_routes(bridge, ["10.192.7.0/24"]).why


async def test_all_is_well_where_all_answers() -> None:
    found = await examined(MemoryMachine())
    assert bad(found) == []
    assert {(each.check, each.peer) for each in found} >= {("tunnel", "n2"), ("names", "n3"), ("publish", "n2")}


async def test_a_node_that_is_cut_off_is_the_only_one_that_is_told() -> None:
    machine = MemoryMachine(silent={"10.192.3.1"}, reached={("192.168.0.3", 9): "refused"})
    assert bad(await examined(machine)) == [("tunnel", "n3")]


async def test_a_name_server_that_is_shut_off_is_told_and_nothing_else() -> None:
    machine = MemoryMachine(asked={("10.192.2.1", False): "silent"})
    assert bad(await examined(machine)) == [("names", "n2")]


async def test_what_the_agent_noticed_itself_is_told_and_nodes_without_networks_say_why() -> None:
    troubled = replace(STATE, troubles={"8080/tcp": "port 8080/tcp is taken on this node"})
    assert bad(await examined(MemoryMachine(), troubled)) == [("8080/tcp", "")]
    diagnosis = await Doctor("n1", None, "networks need nft", State).examine(ASKED)
    assert [finding.why for finding in diagnosis.findings] == ["networks need nft"]
    assert (await Doctor("n1", MemoryMachine(), "", State).examine(ASKED)).findings == ()
