"""What this machine is to have of the mesh's networks, from the leader's records. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from schemas.network import TUNNEL_OVERHEAD, AllocationRecord, EndpointsRecord, PublishRecord
from schemas.wire import Count, Wire

SMALLEST_MTU = 576


class View(Wire, frozen=True, kw_only=True):
    """The leader's records as this agent has them, kept on disk: a reboot without NATS restores the networks."""

    allocations: dict[str, AllocationRecord] = {}
    endpoints: dict[str, EndpointsRecord] = {}
    """By `<network>.<service>`."""
    publish: PublishRecord = PublishRecord()
    sequences: dict[str, Count] = {}
    """Key -> the sequence of what is held of it."""
    generation: Count = 0
    """Of the store that they are of; 0: not known."""
    let_go: Count = 0
    """The highest sequence among what was held of networks that this node does not use any more."""

    @property
    def everywhere(self) -> frozenset[str]:
        """Networks that every node has: of published ports, and attachable ones."""
        return frozenset(port.network for port in self.publish.ports) | frozenset(self.publish.attachable)

    @property
    def highest(self) -> int:
        """The highest sequence that was ever taken in."""
        return max(self.let_go, max(self.sequences.values(), default=0))


@dataclass(frozen=True)
class Bridge:
    """One network on this machine."""

    network: str
    vni: int
    subnet: str
    range: str
    gateway: str
    vips: str
    mtu: int
    tunnel: str
    """This machine's end."""
    internal: bool = False
    peers: frozenset[str] = frozenset()
    """The other machines' ends."""
    mtu_found: bool = False
    """The MTU is that of this machine's interface; else it was asked for."""

    @property
    def device(self) -> str:
        """The bridge."""
        return f"br-m{self.vni}"

    @property
    def vxlan(self) -> str:
        """The tunnel's device."""
        return f"vx-m{self.vni}"

    @property
    def engine_name(self) -> str:
        """What the engine calls the network."""
        return engine_network(self.network)


@dataclass(frozen=True)
class Rules:
    """What the nftables table is to do (`rules.py` writes it). There may be 50,000 backends: what did not change is
    compared service by service."""

    services: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    """(bridge, virtual address) -> the addresses behind it, at least one."""
    ports: Mapping[tuple[str, int], tuple[tuple[str, int], ...]] = field(default_factory=dict)
    """(protocol, published port) -> addresses and ports behind it, at least one."""
    local: frozenset[str] = frozenset()
    """Addresses of tasks of this node."""
    own: frozenset[str] = frozenset()
    """Those whose answers go through this machine, so that they may see the address of whoever calls."""
    subnets: frozenset[tuple[str, str]] = frozenset()
    """(bridge, its subnet): who calls from there keeps the address."""
    virtual: frozenset[str] = frozenset()
    """Ranges of virtual addresses."""


Share: TypeAlias = tuple[EndpointsRecord, tuple[str, ...], tuple[str, ...]]
"""A record, the addresses behind it, and those of them that are on this node."""


class Shares:
    """What each record comes to, made once: there may be 5,000 of ten backends, of which one changes."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._made: dict[str, Share] = {}

    def of(self, key: str, record: EndpointsRecord) -> Share:
        """That of the record at a key: the same object as long as it is the same record."""
        held = self._made.get(key)
        if held is None or held[0] is not record:
            behind = tuple([each.address for each in record.backends])
            here = tuple([each.address for each in record.backends if each.node == self._node])
            held = self._made[key] = (record, behind, here)
        return held

    def keep(self, keys: Collection[str]) -> None:
        """Forget those of records that are no more."""
        if len(self._made) > len(keys):
            self._made = {key: each for key, each in self._made.items() if key in keys}


@dataclass(frozen=True)
class Wanted:
    """All of it."""

    bridges: tuple[Bridge, ...] = ()
    rules: Rules = field(default_factory=Rules)
    ports: frozenset[tuple[str, int]] = frozenset()
    """Published ports to keep others off."""


def mesh_addresses(addresses: Mapping[str, str]) -> dict[str, str]:
    """Of a container's addresses by the engine's networks: those by the mesh's."""
    prefix = engine_network("")
    return {name.removeprefix(prefix): each for name, each in addresses.items() if name.startswith(prefix)}


def engine_network(network: str) -> str:
    """What the engine calls a network of the mesh."""
    return f"mesh.{network}"


def wanted(
    view: View,
    node: str,
    used: Iterable[str],
    mtu: int,
    taken: frozenset[tuple[str, int]],
    shares: Shares | None = None,
) -> Wanted:
    """What `node` needs, with tasks on the networks `used`. `mtu`: of its interface. `taken`: ports others hold.

    `shares`: those of the last time, for what has not changed.
    """
    names = {*used, *view.everywhere}
    bridges = tuple(
        bridge for name in sorted(names) if (bridge := _bridge(view.allocations.get(name), node, mtu)) is not None
    )
    here = {bridge.network: bridge for bridge in bridges}
    shares = shares or Shares(node)
    shares.keep(view.endpoints.keys())
    found = [shares.of(key, record) for key, record in view.endpoints.items() if record.network in here]
    ports = frozenset((port.protocol, port.published) for port in view.publish.ports)
    return Wanted(bridges, _rules(view, node, here, found, ports & taken), ports)


def _bridge(record: AllocationRecord | None, node: str, mtu: int) -> Bridge | None:
    held = record.nodes.get(node) if record is not None else None
    if record is None or held is None or not record.vni:
        return None
    return Bridge(
        network=record.network,
        vni=record.vni,
        subnet=record.subnet,
        range=held.range,
        gateway=held.gateway,
        vips=record.vips,
        mtu=record.mtu or max(SMALLEST_MTU, mtu - TUNNEL_OVERHEAD),
        tunnel=held.tunnel,
        internal=record.internal,
        peers=frozenset(other.tunnel for name, other in record.nodes.items() if name != node and other.tunnel),
        mtu_found=not record.mtu,
    )


def _rules(
    view: View,
    node: str,
    here: Mapping[str, Bridge],
    shares: Iterable[Share],
    taken: frozenset[tuple[str, int]],
) -> Rules:
    services: dict[tuple[str, str], tuple[str, ...]] = {}
    local: set[str] = set()
    own: set[str] = set()
    devices = {network: bridge.device for network, bridge in here.items()}
    for record, behind, on_node in shares:
        if record.vip and behind:
            services[devices[record.network], record.vip] = behind
        if on_node:
            local.update(on_node)
            own.update(on_node if not here[record.network].internal else ())
    ports: dict[tuple[str, int], tuple[tuple[str, int], ...]] = {}
    for port in view.publish.ports:
        answering = view.endpoints.get(f"{port.network}.{port.service}")
        if port.network not in here or answering is None or (port.protocol, port.published) in taken:
            continue
        chosen = [each for each in answering.backends if each.node == node or not port.local]
        if chosen:
            ports[port.protocol, port.published] = tuple([(each.address, port.target) for each in chosen])
    return Rules(
        services=services,
        ports=ports,
        local=frozenset(local),
        own=frozenset(own),
        subnets=frozenset((bridge.device, bridge.subnet) for bridge in here.values()),
        virtual=frozenset(bridge.vips for bridge in here.values()),
    )
