"""What each network is allotted: subnet, number, a range for each node that needs it, an address for each service.

Pure. An allotment stays while its network does: a node keeps its range, a service its virtual address, so that nothing
that runs is renumbered. What can't be had is told in the record (`why`, `without`) and gives nothing instead.

The layout of a subnet of /16 with ranges of /24: 223 nodes with 252 tasks each, then 8,190 virtual addresses in its
last eighth. The first range is left free, so that no gateway is the subnet's own first address.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

import msgspec

from controller.tunnels import Tunnel
from schemas.network import FIRST_VNI, LAST_VNI, AllocationRecord, NetworkRecord, NodeRange

POOL = IPv4Network("10.128.0.0/9")
"""Where subnets come from when nobody names one: 128 networks."""

SUBNET_PREFIX = 16
VIP_BITS = 3
"""The last 2**-3 of a subnet is for virtual addresses."""


@dataclass(frozen=True)
class Needs:
    """Who is to be on a network."""

    nodes: Mapping[str, Tunnel]
    """Node -> where its tunnel ends."""
    services: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()
    """Nodes whose ranges are free. One that is only unknown keeps its own: it was silent when the store was made anew,
    and its tasks have their addresses still."""
    idle: Mapping[str, Tunnel] = field(default_factory=dict)
    """Other members: one that has a range already keeps it."""


@dataclass(frozen=True)
class Taken:
    """What a new allotment must keep clear of."""

    subnets: frozenset[str] = frozenset()
    vnis: frozenset[int] = frozenset()
    routes: Mapping[str, str] = field(default_factory=dict)
    """Range that some machine routes -> whose."""


def allot(network: NetworkRecord, prior: AllocationRecord | None, needs: Needs, taken: Taken) -> AllocationRecord:
    """The network's allotment: the prior one with what is missing."""
    record = prior or AllocationRecord(network=network.name)
    record = msgspec.structs.replace(record, internal=network.internal, mtu=network.mtu, why="")
    if not record.subnet:
        record = _opened(network, record, taken)
    if not record.subnet:
        return msgspec.structs.replace(record, services=dict.fromkeys(sorted(needs.services), ""))
    return _with_services(_with_nodes(record, network.node_prefix, needs), needs.services)


def ceiling(subnet: IPv4Network, node_prefix: int) -> int:
    """How many nodes fit on a network."""
    ranges = 1 << max(0, node_prefix - subnet.prefixlen)
    return max(0, ranges - (ranges >> VIP_BITS) - 1)


def vips_of(subnet: IPv4Network) -> IPv4Network:
    """The part for virtual addresses."""
    return list(subnet.subnets(prefixlen_diff=VIP_BITS))[-1]


def refusal(wanted: str, node_prefix: int, taken: Taken) -> str:
    """Why a subnet can't be had, in one line; "" if it can."""
    if ":" in wanted:
        return f"{wanted} is of IPv6, which is not there yet"
    try:
        subnet = IPv4Network(wanted)
    except ValueError as error:
        return f"{wanted} is no IPv4 subnet ({error})"
    if ceiling(subnet, node_prefix) < 1 or subnet.prefixlen < 8:
        return f"{wanted} has no room for ranges of /{node_prefix} for nodes"
    for other in sorted(taken.subnets):
        if subnet.overlaps(IPv4Network(other)):
            return f"{wanted} overlaps {other} of another network"
    for route, whose in sorted(taken.routes.items()):
        if subnet.overlaps(IPv4Network(route)):
            return f"{wanted} overlaps {route}, which {whose} routes"
    return ""


def _opened(network: NetworkRecord, record: AllocationRecord, taken: Taken) -> AllocationRecord:
    vni = next((number for number in range(FIRST_VNI, LAST_VNI + 1) if number not in taken.vnis), 0)
    if not vni:
        return msgspec.structs.replace(record, why=f"all {LAST_VNI - FIRST_VNI + 1} networks are in use")
    if network.subnet:
        why = refusal(network.subnet, network.node_prefix, taken)
        subnet = "" if why else network.subnet
    else:
        subnet = _free_subnet(network.node_prefix, taken)
        why = "" if subnet else f"no subnet of {POOL} is free: name one"
    if why:
        return msgspec.structs.replace(record, why=why)
    vips = str(vips_of(IPv4Network(subnet)))
    return msgspec.structs.replace(record, vni=vni, subnet=subnet, vips=vips)


def _free_subnet(node_prefix: int, taken: Taken) -> str:
    """The first of the pool that nobody uses; the upper half first, where people seldom are."""
    pool = [subnet for half in reversed(list(POOL.subnets(1))) for subnet in half.subnets(new_prefix=SUBNET_PREFIX)]
    if ceiling(pool[0], node_prefix) < 1:
        return ""
    used: set[int] = set()
    size, start, end = pool[0].num_addresses, int(POOL.network_address), int(POOL.broadcast_address)
    for other in map(IPv4Network, (*taken.subnets, *taken.routes)):
        # Each is looked at once: there may be very many.
        first, last = max(start, int(other.network_address)), min(end, int(other.broadcast_address))
        used.update(range(first // size, last // size + 1))
    return next((str(subnet) for subnet in pool if int(subnet.network_address) // size not in used), "")


def _with_nodes(record: AllocationRecord, node_prefix: int, needs: Needs) -> AllocationRecord:
    tunnels = {**needs.idle, **needs.nodes}
    nodes = {
        name: _moved(held, tunnels[name].address) if name in tunnels else held
        for name, held in record.nodes.items()
        if name not in needs.removed
    }
    subnet, without = IPv4Network(record.subnet), dict[str, str]()
    for name, tunnel in sorted(needs.nodes.items()):
        if tunnel.why:
            without[name] = tunnel.why
        if name in nodes or not tunnel.address:
            continue
        found = _free_range(subnet, node_prefix, nodes, needs)
        if found is None:
            without[name] = f"all {ceiling(subnet, node_prefix)} ranges of {subnet} are given out"
        else:
            nodes[name] = NodeRange(range=str(found), gateway=str(found[1]), tunnel=tunnel.address)
    return msgspec.structs.replace(record, nodes=nodes, without=without)


def _moved(held: NodeRange, tunnel: str) -> NodeRange:
    return held if held.tunnel == tunnel else msgspec.structs.replace(held, tunnel=tunnel)


def _free_range(subnet: IPv4Network, node_prefix: int, nodes: dict[str, NodeRange], needs: Needs) -> IPv4Network | None:
    """The first free one; if there is none, that of a member that does not need it, then of a node that is unknown."""
    used = {held.range for held in nodes.values()}
    first = int(subnet.network_address)
    for number in range(1, ceiling(subnet, node_prefix) + 1):
        found = IPv4Network((first + number * 2 ** (32 - node_prefix), node_prefix))
        if str(found) not in used:
            return found
    spare = (name for name in nodes if name not in needs.nodes)
    idle = min(spare, key=lambda name: (name not in needs.idle, name), default=None)
    return IPv4Network(nodes.pop(idle).range) if idle is not None else None


def _with_services(record: AllocationRecord, wanted: frozenset[str]) -> AllocationRecord:
    """It names all of them: one without an address answers by its tasks' addresses alone."""
    services = {name: vip for name, vip in record.services.items() if name in wanted and vip}
    used, pool, why = set(services.values()), IPv4Network(record.vips), record.why
    free = (address for address in _hosts(pool) if address not in used)
    for name in sorted(wanted - services.keys()):
        services[name] = next(free, "")
        why = why if services[name] else f"all virtual addresses of {pool} are in use"
    return msgspec.structs.replace(record, services=services, why=why)


def _hosts(pool: IPv4Network) -> Iterable[str]:
    first, last = int(pool.network_address) + 1, int(pool.broadcast_address)
    return (str(IPv4Address(number)) for number in range(first, last))
