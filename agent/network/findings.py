"""From what was tried to what is wrong, and what helps. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network

from agent.network.model import Bridge
from agent.network.port import Asked, Examination, Reach
from schemas.network import TUNNEL_OVERHEAD, TUNNEL_PORT
from schemas.nodeapi import Finding


@dataclass(frozen=True)
class Peer:
    """Another node, as it is tried over one network."""

    node: str
    network: str
    gateway: str
    """Its own address on the network."""
    tunnel: str
    """Its address outside of it."""


@dataclass(frozen=True)
class Tried:
    """What came of trying a peer."""

    path: Reach
    neighbour: bool = True
    underlay: Reach = "refused"
    names: Asked = "answered"
    full: Asked = "answered"
    ports: Mapping[int, Reach] = field(default_factory=dict)
    """Published TCP port that somebody answers behind -> what came of it."""


THERE: frozenset[Reach] = frozenset({"open", "refused"})
"""Somebody answered."""


def of_machine(found: Examination) -> Iterator[Finding]:
    """What the mesh relies on here."""
    checks = {
        "bridge-nf": (
            found.bridge_nf,
            "packets between containers do not pass the rules, so virtual addresses do not work between them",
            "sysctl -w net.bridge.bridge-nf-call-iptables=1, and find out what sets it to 0",
        ),
        "forwarding": (
            found.forwarding,
            "this machine forwards no packets",
            "sysctl -w net.ipv4.ip_forward=1, and find out what sets it to 0",
        ),
        "iptables": (
            found.chain_first,
            "the jump to DOCKMESH is not the first rule of FORWARD: another program has put its own before it",
            "the agent puts it back; find out what keeps changing FORWARD (a firewall that reloads?)",
        ),
        "nftables": (
            found.table,
            "the table `ip dockmesh` is gone: somebody has flushed the ruleset",
            "the agent makes it anew; leave `flush ruleset` out of the firewall's configuration",
        ),
        f"port {TUNNEL_PORT}": (
            found.tunnel_port,
            f"another program has UDP port {TUNNEL_PORT}, which tunnels need",
            f"find it with `ss -ulnp sport = :{TUNNEL_PORT}` (Swarm's overlay takes it, too), and stop it",
        ),
    }
    for name, (fine, why, hint) in checks.items():
        yield Finding(check=name, ok=fine, why="" if fine else why, hint="" if fine else hint)


def of_mtu(bridge: Bridge, interface: int) -> Finding:
    """Whether full packets of a network fit through this machine's own interface."""
    needed = bridge.mtu + TUNNEL_OVERHEAD
    if interface >= needed:
        return Finding(check="mtu", network=bridge.network)
    return Finding(
        check="mtu",
        network=bridge.network,
        ok=False,
        why=f"the interface of {bridge.tunnel} takes packets of {interface} bytes, and {needed} are needed",
        hint=f"set its MTU to {needed}, or make the network anew with --mtu {interface - TUNNEL_OVERHEAD}",
    )


def of_routes(bridge: Bridge, routes: Iterable[str]) -> Finding:
    """Whether this machine sends the network's addresses elsewhere."""
    subnet = IPv4Network(bridge.subnet)
    meeting = sorted(route for route in routes if IPv4Network(route).prefixlen and subnet.overlaps(IPv4Network(route)))
    if not meeting:
        return Finding(check="overlap", network=bridge.network)
    return Finding(
        check="overlap",
        network=bridge.network,
        ok=False,
        why=f"this machine routes {', '.join(meeting)}, which overlaps the network's {bridge.subnet}",
        hint="remove the route, or make the network anew with another --subnet",
    )


def of_own_names(bridge: Bridge, asked: Asked) -> Finding:
    """Whether this node's own name server answers."""
    fine = asked == "answered"
    return Finding(
        check="names",
        network=bridge.network,
        ok=fine,
        why="" if fine else f"nobody answers at {bridge.gateway}:53",
        hint="" if fine else "see the agent's log; does another program have port 53 on all addresses?",
    )


def of_troubles(troubles: Mapping[str, str]) -> Iterator[Finding]:
    """What the agent has noticed itself."""
    for thing, why in sorted(troubles.items()):
        yield Finding(check=thing, ok=False, why=why)


def of_peer(own: str, mtu: int, peer: Peer, tried: Tried) -> Iterator[Finding]:
    """What is wrong between this node (its tunnel's address `own`) and another, on a network with that MTU."""
    tunnel = _tunnel(own, peer, tried)
    yield tunnel
    if tunnel.ok:
        names = _names(peer, tried)
        yield names
        if names.ok:
            yield _full(peer, mtu, tried)
    yield from (_port(peer, port, came) for port, came in sorted(tried.ports.items()))


def _finding(check: str, peer: Peer, why: str = "", hint: str = "") -> Finding:
    return Finding(check=check, peer=peer.node, network=peer.network, ok=not why, why=why, hint=hint)


def _tunnel(own: str, peer: Peer, tried: Tried) -> Finding:
    if tried.path in THERE:
        return _finding("tunnel", peer)
    if tried.neighbour:
        return _finding(
            "tunnel",
            peer,
            f"the tunnel works, and {peer.node} drops what is sent to its address {peer.gateway}",
            f"let {peer.node}'s firewall take in what comes over br-m*: iptables -I INPUT -i br-m+ -j ACCEPT",
        )
    if tried.underlay in THERE:
        return _finding(
            "tunnel",
            peer,
            f"{peer.node} ({peer.tunnel}) is there, and tunnel packets do not get through",
            f"let UDP port {TUNNEL_PORT} pass between {own} and {peer.tunnel}, both ways, on both machines and between",
        )
    return _finding(
        "tunnel",
        peer,
        f"{peer.tunnel} does not answer at all",
        f"is it {peer.node}'s address as {own} reaches it? (mesh-agent --address); is a firewall between them?",
    )


def _names(peer: Peer, tried: Tried) -> Finding:
    if tried.names == "answered":
        return _finding("names", peer)
    return _finding(
        "names",
        peer,
        f"the name server of {peer.node} does not answer at {peer.gateway}:53, though the tunnel works",
        f"let {peer.node}'s firewall take in UDP and TCP port 53 over br-m*; its containers can't ask either",
    )


def _full(peer: Peer, mtu: int, tried: Tried) -> Finding:
    if tried.full == "answered":
        return _finding("mtu", peer)
    return _finding(
        "mtu",
        peer,
        f"packets of {mtu} bytes do not get through to {peer.node}, small ones do",
        f"the machines between need an MTU of {mtu + TUNNEL_OVERHEAD}; or make the network anew with a smaller --mtu",
    )


def _port(peer: Peer, port: int, came: Reach) -> Finding:
    if came == "open":
        return _finding("publish", peer)
    if came == "refused":
        return _finding(
            "publish",
            peer,
            f"{peer.node} refuses connections to {port}, which is published there",
            f"see what `network doctor` says of {peer.node} itself; is the program listening?",
        )
    return _finding(
        "publish",
        peer,
        f"{peer.tunnel}:{port} is published there and does not answer",
        f"let TCP port {port} pass to {peer.tunnel}",
    )
