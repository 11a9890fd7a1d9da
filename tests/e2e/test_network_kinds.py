"""Kinds of networks, names and ports, each once on real engines: what the other files of networks do not come by."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.site import Site
from tests.e2e.test_network_stacks import ask, ask_machine, client, deploy, server

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

ELSEWHERE = "192.0.2.77"
RESOLVER = f"""
import socket
from dnslib import A, DNSRecord, RR
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', 53)); print('up', flush=True)
while True:
    data, asker = s.recvfrom(4096); q = DNSRecord.parse(data); r = q.reply()
    if q.questions[0].qtype == 1:
        r.add_answer(RR(q.questions[0].qname, 1, rdata=A('{ELSEWHERE}'), ttl=1))
    s.sendto(r.pack(), asker)
"""
MTUS = "{open('/sys/class/net/' + n + '/mtu').read().strip() for n in __import__('os').listdir('/sys/class/net')}"
SHARED = {"external": True, "name": "shared"}


@pytest.fixture(scope="module")
def kin(operated: Site) -> Iterator[Site]:
    """Two stacks that share a network which neither has made; one by one what a service may ask of networks."""
    operated.all_ready()
    operated.meshctl("network", "create", "--label", "team=red", "--mtu", "1400", "shared")
    lone: dict[str, Any] = {"replicas": 2, "endpoint_mode": "dnsrr", "update_config": {"monitor": "1s"}}
    held = {"target": 80, "published": 8110, "mode": "host"}
    deploy(
        operated,
        "kin",
        {"net": None, "shared": SHARED},
        web=server("net", replicas=1, ports=["8101-8102:80-81"]) | {"networks": {"net": {"aliases": ["front"]}}},
        lone=server("net") | {"deploy": lone},
        none=server("net", replicas=0),
        held=server("net", replicas=1, ports=[held]),
        asker=client("net", "shared"),
    )
    deploy(operated, "far", {"shared": SHARED}, web=server("shared", replicas=1))
    yield operated
    operated.clear()
    operated.run("network", "rm", "shared")


def test_stacks_share_a_network_that_neither_has_made_and_it_is_as_it_was_asked_for(kin: Site) -> None:
    for node in kin.lab.nodes:
        assert " " in ask(kin, node, "kin_asker", "get('web.far', 80)")
        assert ask(kin, node, "kin_asker", MTUS) >= {"1400", "1450"}
    (told,) = json.loads(kin.meshctl("network", "inspect", "--format", "json", "shared").out.join("[]"))
    assert "kin_asker" in json.dumps(told)
    assert "far_web" in json.dumps(told)
    assert "team" in json.dumps(told)
    assert "used by" in kin.meshctl("network", "rm", "shared", code=6).err


def test_names_without_a_virtual_address_with_an_alias_without_tasks_and_unknown(kin: Site) -> None:
    for node in kin.lab.nodes:
        found = ask(kin, node, "kin_asker", "[names(n) for n in ('lone', 'tasks.lone', 'web', 'front', 'none')]")
        lone, tasks, web, front, none = found
        assert len(lone) == 2
        assert lone == tasks
        assert len(web) == 1
        assert web == front
        assert none[0].count(".") == 3, "a name that exists"
        assert ask(kin, node, "kin_asker", "get('none', 80)") == "ConnectionRefusedError"
        assert "not known" in ask(kin, node, "kin_asker", "names('nobody')")[0]


def test_what_is_none_of_the_meshs_is_asked_of_the_nodes_own_resolvers_as_they_are_now(kin: Site) -> None:
    was = kin.lab.exec("node-2", ["cat", "/etc/resolv.conf"]).stdout
    with kin.program("node-2", "resolver", sys.executable, "-c", RESOLVER) as log:
        kin.wait("the resolver listens", lambda: log.exists() and "up" in log.read_text())
        try:
            kin.lab.exec("node-2", ["sh", "-c", "echo nameserver 127.0.0.1 > /etc/resolv.conf"])
            assert ask(kin, "node-2", "kin_asker", "names('somewhere.example')") == [ELSEWHERE]
        finally:
            kin.lab.exec("node-2", ["sh", "-c", "cat > /etc/resolv.conf"], text=was)


def test_a_range_of_ports_answers_on_all_nodes_and_a_port_of_one_host_there_alone(kin: Site) -> None:
    (home,) = kin.spread("kin_held")
    for node in kin.lab.plan.of("node"):
        ports = (8101, 8102, 8110)
        what = f"[get('{node.address}', port) for port in {ports}]"
        first, second, held = ask_machine(kin, "controller-1", what)
        assert " " in first
        assert second == "ConnectionRefusedError", "nobody listens behind it"
        assert (" " in held) == (node.name == home), (node.name, held)


def test_networks_that_can_not_be_are_refused_with_the_reason(kin: Site) -> None:
    for arguments, why in (
        (("--subnet", "10.77.0.0/16"), "overlaps 10.77."),
        (("--subnet", "10.60.0.0/24"), "no room"),
        (("-o", "encrypted"), "encrypted"),
        (("--subnet", "fd00::/64"), "IPv6"),
    ):
        said = kin.run("network", "create", *arguments, "clash")
        assert said.code != 0, arguments
        assert why in said.err, said.err
    assert "clash" not in kin.meshctl("network", "ls").out
