"""From what there is on the machine to what is wanted: a list of steps, each of which may be done twice. Pure.

Only things that bear the mesh's names are looked at (`Found`), so nothing of others can be changed by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from agent.engine.model import EngineNetwork
from agent.network.model import Bridge


@dataclass(frozen=True)
class Tunnel:
    """A tunnel's device as the kernel has it."""

    device: str
    vni: int
    local: str
    master: str
    mtu: int
    peers: frozenset[str] = frozenset()
    up: bool = True


@dataclass(frozen=True)
class Found:
    """What there is."""

    networks: Mapping[str, EngineNetwork] = field(default_factory=dict)
    """By the engine's name."""
    tunnels: Mapping[str, Tunnel] = field(default_factory=dict)
    virtual: Mapping[str, str] = field(default_factory=dict)
    """Range of virtual addresses that the machine answers for -> bridge."""
    bridges: frozenset[str] = frozenset()
    """Bridges of the mesh's naming that the kernel has."""
    addresses: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Such a bridge -> its addresses."""
    own: frozenset[str] = frozenset()
    """All addresses of this machine, whoever's device has them."""
    ports: Mapping[str, bool] = field(default_factory=dict)
    """Container's interface on such a bridge -> whether what it sends may come back to it."""


@dataclass(frozen=True)
class MakeNetwork:
    """Have the engine make the network with its bridge."""

    bridge: Bridge

    def describe(self) -> str:
        """One line for the log."""
        return f"make {self.bridge.engine_name} ({self.bridge.range} on {self.bridge.device})"


@dataclass(frozen=True)
class DropNetwork:
    """Have the engine forget the network."""

    name: str

    def describe(self) -> str:
        """One line for the log."""
        return f"remove {self.name}"


@dataclass(frozen=True)
class MakeTunnel:
    """Make the tunnel's device, as a port of the bridge."""

    bridge: Bridge

    def describe(self) -> str:
        """One line for the log."""
        return f"make {self.bridge.vxlan} from {self.bridge.tunnel}"


@dataclass(frozen=True)
class DropDevice:
    """Remove a device of ours."""

    device: str

    def describe(self) -> str:
        """One line for the log."""
        return f"remove {self.device}"


@dataclass(frozen=True)
class SetPeer:
    """Send what everybody must see to that machine, too; or no more."""

    device: str
    peer: str
    present: bool

    def describe(self) -> str:
        """One line for the log."""
        return f"{self.device}: {'add' if self.present else 'drop'} {self.peer}"


@dataclass(frozen=True)
class SetGateway:
    """Give a bridge its own address back, which somebody has taken from it."""

    bridge: Bridge

    def describe(self) -> str:
        """One line for the log."""
        return f"{self.bridge.device}: {self.bridge.gateway} again"


@dataclass(frozen=True)
class SetVirtual:
    """Answer for a range of virtual addresses on the bridge, or no more."""

    device: str
    range: str
    present: bool

    def describe(self) -> str:
        """One line for the log."""
        return f"{self.device}: {'answer' if self.present else 'do not answer'} for {self.range}"


@dataclass(frozen=True)
class SetHairpin:
    """Let a container reach itself by a virtual address."""

    device: str

    def describe(self) -> str:
        """One line for the log."""
        return f"{self.device}: hairpin on"


Step: TypeAlias = MakeNetwork | DropNetwork | MakeTunnel | DropDevice | SetPeer | SetGateway | SetVirtual | SetHairpin


def steps_to(bridges: Iterable[Bridge], found: Found) -> tuple[Step, ...]:
    """What is to be done, in order; what is not wanted goes first."""
    wanted = {bridge.engine_name: bridge for bridge in bridges}
    return (*_removals(wanted, found), *(step for bridge in wanted.values() for step in _additions(bridge, found)))


def as_they_stand(bridges: Iterable[Bridge], networks: Mapping[str, EngineNetwork]) -> tuple[Bridge, ...]:
    """The bridges, each with the MTU that its network was made with: an interface may get another under them.

    A tunnel made anew would break their connections, and a smaller one drops, unheard, what they send.
    """
    return tuple(_as_it_stands(bridge, networks.get(bridge.engine_name)) for bridge in bridges)


def _as_it_stands(bridge: Bridge, network: EngineNetwork | None) -> Bridge:
    if network is None or not network.mtu or not bridge.mtu_found:
        return bridge
    standing = replace(bridge, mtu=network.mtu)
    return standing if _fits(standing, network) else bridge


def _removals(wanted: Mapping[str, Bridge], found: Found) -> Iterator[Step]:
    devices = {bridge.vxlan: bridge for bridge in wanted.values()}
    for device, tunnel in sorted(found.tunnels.items()):
        if device not in devices or not devices[device].tunnel or _differs(devices[device], tunnel):
            yield DropDevice(device)
    for name, network in sorted(found.networks.items()):
        if name not in wanted or not _fits(wanted[name], network):
            yield DropNetwork(name)
    kept = {bridge.device for bridge in wanted.values()} | {network.device for network in found.networks.values()}
    yield from (DropDevice(device) for device in sorted(found.bridges - kept))


def _additions(bridge: Bridge, found: Found) -> Iterator[Step]:
    network = found.networks.get(bridge.engine_name)
    if network is None or not _fits(bridge, network):
        yield MakeNetwork(bridge)
    if bridge.tunnel:
        yield from _tunnel(bridge, found)
    if bridge.gateway not in found.addresses.get(bridge.device, {bridge.gateway}):
        yield SetGateway(bridge)
    if found.virtual.get(bridge.vips) != bridge.device:
        yield SetVirtual(bridge.device, bridge.vips, present=True)
    prefix = f"{bridge.device} "
    for port, hairpin in sorted(found.ports.items()):
        if port.startswith(prefix) and not hairpin:
            yield SetHairpin(port.removeprefix(prefix))


def _tunnel(bridge: Bridge, found: Found) -> Iterator[Step]:
    """Its way to others; none leads to this machine itself: what is sent there would come back into the bridge."""
    tunnel, wanted = found.tunnels.get(bridge.vxlan), bridge.peers - found.own
    if tunnel is None or _differs(bridge, tunnel):
        yield MakeTunnel(bridge)
        tunnel = None
    peers = tunnel.peers if tunnel is not None else frozenset()
    yield from (SetPeer(bridge.vxlan, peer, present=False) for peer in sorted(peers - wanted))
    yield from (SetPeer(bridge.vxlan, peer, present=True) for peer in sorted(wanted - peers))


def _fits(bridge: Bridge, network: EngineNetwork) -> bool:
    asked = (bridge.device, bridge.range, bridge.mtu, bridge.internal)
    return (network.device, network.range, network.mtu, network.internal) == asked


def _differs(bridge: Bridge, tunnel: Tunnel) -> bool:
    """Another network, another address of this machine, another place: it is made anew."""
    asked = (bridge.vni, bridge.tunnel, bridge.device, bridge.mtu)
    return (tunnel.vni, tunnel.local, tunnel.master, tunnel.mtu) != asked or not tunnel.up
