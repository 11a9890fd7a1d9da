"""What others change on a node is repaired within seconds."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.e2e.site import Site
from tests.e2e.test_network_stacks import ask, client, deploy, server

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

LOOK = """
nft -s list table ip dockmesh | sed 's/ elements = .*//' | grep -E 'jump|@own|hook'
iptables -S FORWARD | grep -n DOCKMESH; iptables -S DOCKMESH; bridge fdb | grep 00:00:00:00:00:00
ip -4 -br addr | grep -v veth; ip route show table local | grep /
ip -o link show type vxlan | sed 's/^[0-9]*: //; s/link.ether.*//'
"""
SOON = 8.0
"""Seconds: below the 10 s after which an agent looks without being told, above what a busy machine needs."""


@pytest.fixture(scope="module")
def pair(operated: Site) -> Iterator[Site]:
    """A server and a client on every node."""
    operated.all_ready()
    deploy(operated, "pair", {"net": None}, web=server("net", ports=["8080:80"], replicas=3), asker=client("net"))
    operated.wait("there is a client on every node", lambda: len(operated.spread("pair_asker")) == 3)
    yield operated
    operated.clear()


def state(site: Site, node: str) -> list[str]:
    """What the mesh has made on a node."""
    return sorted(site.lab.exec(node, ["sh", "-c", LOOK]).stdout.splitlines())


@pytest.mark.parametrize(
    "harm",
    [
        # Nothing of the engine's own: it makes its chains only when it starts, and this lab is everybody's.
        "nft delete table ip dockmesh",
        "nft flush chain ip dockmesh prerouting",
        "iptables -D FORWARD -j DOCKMESH; iptables -F DOCKMESH",
        "ip link del $(ip -o link show type vxlan | sed 's/^[0-9]*: //; s/[@:].*//')",
        "dev=$(ip -br link | grep -o 'br-m[0-9]*'); ip addr flush dev $dev",
    ],
)
def test_what_somebody_else_removes_is_there_again_soon(pair: Site, harm: str) -> None:
    before = state(pair, "node-2")
    assert any("jump dispatch" in line for line in before), before
    began = time.monotonic()
    done = pair.lab.exec("node-2", ["sh", "-ec", harm])
    assert done.returncode == 0, done.stderr
    try:
        pair.wait("it is as it was", lambda: state(pair, "node-2") == before, 20)
    except Exception:
        raise AssertionError(set(state(pair, "node-2")) ^ set(before)) from None
    assert time.monotonic() - began < SOON
    pair.wait("all are reached", lambda: reached(pair))


def reached(site: Site) -> bool:
    """Whether from each node all three tasks answer by the service's name."""
    found = [ask(site, node, "pair_asker", "[get('web', 80) for _ in range(24)]") for node in site.lab.nodes]
    return all(len({answer.split()[0] for answer in each if " " in answer}) == 3 for each in found)
