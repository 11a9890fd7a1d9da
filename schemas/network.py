"""Networks of the mesh: what people ask for, what the leader allots, and who answers behind a name.

`network.<n>` is intent, written by the api. `alloc.<n>`, `endpoints.<n>.<service>` and `endpoints.publish` are the
leader's, and agents follow them. Addresses and ranges are text as `ipaddress` writes it. IPv4 only: `family` is there
so that IPv6 can come without another record; anything but 4 is refused by the api.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Annotated, Literal

from msgspec import Meta

from schemas.wire import Count, Seconds, Token, Wire

TUNNEL_PORT = 4789
"""UDP port of the tunnels between nodes (VXLAN)."""

TUNNEL_OVERHEAD = 50
"""Bytes that a tunnel takes from each packet."""

FIRST_VNI, LAST_VNI = 1000, 4095
"""Numbers of the mesh's networks: from 4096 on they would meet those of Swarm."""


def is_address(text: str) -> bool:
    """Whether it is an IPv4 address as `ipaddress` writes it: what is to stand in a packet filter's rules has to be."""
    try:
        return str(IPv4Address(text)) == text
    except ValueError:
        return False


EndpointMode = Literal["vip", "dnsrr"]
PortNumber = Annotated[int, Meta(ge=1, le=65535)]


class NetworkRecord(Wire, frozen=True, kw_only=True):
    """`network.<name>`: a network as people want it."""

    name: Token
    stack: str = ""
    """The stack that made it and removes it; "": made by hand."""
    subnet: str = ""
    """"" lets the leader choose."""
    node_prefix: Count = 24
    """16 to 29: length of the range that each node gets from the subnet: sets how many nodes and tasks fit."""
    mtu: Count = 0
    """Of the containers; 0: that of the node's own interface less what the tunnel takes."""
    family: Count = 4
    internal: bool = False
    attachable: bool = False
    """Every node has it, so that containers that are not the mesh's can be put on it anywhere."""
    labels: dict[str, str] = {}
    options: dict[str, str] = {}
    removed: bool = False
    change: str = ""
    """What the last write did: created | updated | removed."""
    cause: str = ""
    created_at: Seconds = 0.0
    updated_at: Seconds = 0.0


class NodeRange(Wire, frozen=True, kw_only=True):
    """What a node has of a network: the addresses it gives out, its own one, and where its tunnel ends."""

    range: str
    gateway: str
    tunnel: str


class AllocationRecord(Wire, frozen=True, kw_only=True):
    """`alloc.<network>`: what the leader has allotted. An allotment stays as long as somebody may use it."""

    network: Token
    vni: Count = 0
    """0: nothing is allotted; `why` says why."""
    subnet: str = ""
    vips: str = ""
    """The part of the subnet for virtual addresses: its last eighth."""
    mtu: Count = 0
    internal: bool = False
    nodes: dict[str, NodeRange] = {}
    services: dict[str, str] = {}
    """Service -> its virtual address."""
    why: str = ""
    without: dict[str, str] = {}
    """Nodes that need the network and can't have it, or not with the address that they tell -> why."""


class Backend(Wire, frozen=True, kw_only=True):
    """A task that takes connections."""

    task: str
    node: Token
    address: str


class EndpointsRecord(Wire, frozen=True, kw_only=True):
    """`endpoints.<network>.<service>`: who answers there. Without backends the name exists and nobody answers."""

    network: Token
    service: Token
    mode: EndpointMode = "vip"
    vip: str = ""
    names: tuple[str, ...] = ()
    """By which it is asked for on this network: its own name, that within its stack, aliases."""
    backends: tuple[Backend, ...] = ()


class Publication(Wire, frozen=True, kw_only=True):
    """A port that every node takes connections on for a service."""

    published: PortNumber
    target: PortNumber
    protocol: Literal["tcp", "udp"] = "tcp"
    service: Token
    network: Token
    """On which the service is reached."""
    local: bool = False
    """Only backends on the node itself: the client's address is always kept."""


class PublishRecord(Wire, frozen=True, kw_only=True):
    """`endpoints.publish`: all of them, by port and protocol."""

    ports: tuple[Publication, ...] = ()
    refused: dict[str, str] = {}
    """Service -> why a port of it is not published."""
    attachable: tuple[Token, ...] = ()
    """Networks that every node has, for containers that are not the mesh's."""


class Attachment(Wire, frozen=True, kw_only=True):
    """A network that a service's tasks are on."""

    network: Token
    aliases: tuple[str, ...] = ()


def tunnel_refusal(address: str) -> str:
    """Why no tunnel can end at this address, in a few words that follow it; "" if one can."""
    try:
        end = IPv4Address(address)
    except ValueError:
        return "is no IPv4 address"
    if end.is_loopback or end.is_unspecified:
        return "is reached by nobody else"
    return "is not the address of one machine" if end.is_multicast or end.is_reserved else ""
