"""network.create, network.remove, network.list, network.inspect; and what a service may ask of networks."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network

import msgspec

from controller.api.desk import Desk, Draft, not_found
from controller.endpoints import ingress_ports, taken
from controller.networking import spec_of, taken_by_others
from controller.networks import ceiling, refusal
from controller.records import Records
from schemas import subjects
from schemas.errors import Conflict, NotFound, Refused
from schemas.netapi import CreateNetwork, InspectNetwork, ListNetworks, NetworkList, NetworkView, RemoveNetworks
from schemas.network import NetworkRecord
from schemas.requests import Written
from schemas.spec import ServiceSpec
from schemas.wire import Wire

FIXED = ("subnet", "node_prefix", "internal", "mtu", "family", "options", "stack")
"""What can't be changed while the network stands."""

ENCRYPTED = "encrypted"

FORGET_AFTER = 3600.0
"""Seconds after a network's removal until its record may go: whoever sends the command again is answered by it."""

FORGET_AT_ONCE = 20
"""Records that go with one write."""


async def create(desk: Desk, request: CreateNetwork) -> NetworkView:
    """Make a network. Raises Conflict: it exists. Refused: it can't be as asked for."""
    name, command, now = request.network.name, desk.command(request.command), desk.clock.wall()

    async def draft() -> Draft[NetworkRecord]:
        there = standing(desk.records, name)
        if there is not None and request.command and (there.change, there.cause) == ("created", request.command):
            return Draft(there)
        if there is not None:
            raise Conflict(f"network {name} exists already")
        check_network(desk, request.network)
        record = made(request.network, command, now)
        return Draft(record, ((subjects.network_key(name), record), *forgotten(desk.records, now)))

    record, _ = await desk.write(draft)
    return NetworkView(record=record)


async def remove(desk: Desk, request: RemoveNetworks) -> Written:
    """Mark networks removed. Raises NotFound, Refused (in use), and then removes none."""
    command, now = desk.command(request.command), desk.clock.wall()

    async def draft() -> Draft[None]:
        records: list[tuple[str, Wire | None]] = []
        if any(_removed_by(desk, name, request.command) for name in request.networks):
            return Draft(None)  # in one batch: all of them
        for name in sorted(set(request.networks)):
            record = standing(desk.records, name)
            if record is None:
                raise _not_found(desk, name)
            users = services_on(desk, name)
            if users:
                raise Refused(f"network {name} is used by {', '.join(users)}", hint="remove these services first")
            records.append((subjects.network_key(name), gone(record, command, now)))
        return Draft(None, (*records, *forgotten(desk.records, now)))

    _, sequence = await desk.write(draft)
    return Written(sequence=sequence)


async def list_all(desk: Desk, request: ListNetworks) -> NetworkList:
    """All that stand."""
    await desk.ready_to_read(request)
    return NetworkList(networks=tuple(_view(desk, name) for name in _names(desk.records)))


async def inspect(desk: Desk, request: InspectNetwork) -> NetworkView:
    """One, with who answers on it. Raises NotFound."""
    await desk.ready_to_read(request)
    if standing(desk.records, request.network) is None:
        raise _not_found(desk, request.network)
    found = sorted(desk.records.endpoints.items())
    endpoints = tuple(record for (network, _), record in found if network == request.network)
    return msgspec.structs.replace(_view(desk, request.network), endpoints=endpoints)


def _removed_by(desk: Desk, name: str, command: str) -> bool:
    stored = desk.records.networks.get(name)
    return stored is not None and stored.record.removed and bool(command) and stored.record.cause == command


def standing(records: Records, name: str) -> NetworkRecord | None:
    """The network, unless it is being removed."""
    stored = records.networks.get(name)
    return None if stored is None or stored.record.removed else stored.record


def made(wanted: NetworkRecord, command: str, now: float) -> NetworkRecord:
    """A network's first record."""
    return msgspec.structs.replace(
        wanted, removed=False, change="created", cause=command, created_at=now, updated_at=now
    )


def gone(record: NetworkRecord, command: str, now: float) -> NetworkRecord:
    """A network's tombstone: the leader takes back what it was allotted once nothing runs on it."""
    return msgspec.structs.replace(record, removed=True, change="removed", cause=command, updated_at=now)


def forgotten(records: Records, now: float) -> list[tuple[str, Wire | None]]:
    """Deletions of records of networks that were removed long ago and of which nothing is allotted any more."""
    old = sorted(
        name
        for name, stored in records.networks.items()
        if stored.record.removed
        and name not in records.allocations
        and 0 < stored.record.updated_at < now - FORGET_AFTER
    )
    return [(subjects.network_key(name), None) for name in old[:FORGET_AT_ONCE]]


def check_network(desk: Desk, wanted: NetworkRecord) -> None:
    """Raises Refused: it can't be as asked for."""
    name = wanted.name
    if wanted.options.get(ENCRYPTED, "false").lower() not in ("false", "0", "no"):
        raise Refused(
            f"network {name}: encrypted networks are not there yet, and it will not run in clear instead",
            hint="leave out `encrypted` where the nodes' own network can be trusted (or is a VPN)",
        )
    unknown = sorted(wanted.options.keys() - {ENCRYPTED})
    if unknown:
        raise Refused(f"network {name}: there is no driver option {unknown[0]}", hint="the MTU is set with --mtu")
    if wanted.family != 4:
        raise Refused(f"network {name}: IPv6 is not there yet", hint="leave out enable_ipv6")
    if not 16 <= wanted.node_prefix <= 29:
        raise Refused(f"network {name}: a node's range is /16 to /29, not /{wanted.node_prefix}")
    if wanted.mtu and not 576 <= wanted.mtu <= 65_000:
        raise Refused(f"network {name}: an MTU of {wanted.mtu} can't be", hint="leave it out: it is found")
    if wanted.subnet:
        why = refusal(wanted.subnet, wanted.node_prefix, taken_by_others(desk.leader.world(), name))
        if why:
            raise Refused(f"network {name}: {why}", hint="leave the subnet out to have a free one chosen")


def stack_networks(
    desk: Desk, stack: str, wanted: Iterable[NetworkRecord], command: str, now: float
) -> list[tuple[str, Wire | None]]:
    """The records that bring a stack's networks about. Raises Conflict, Refused."""
    records: list[tuple[str, Wire | None]] = []
    for network in wanted:
        network = msgspec.structs.replace(network, stack=stack)
        old = standing(desk.records, network.name)
        if old is None:
            check_network(desk, network)
            records.append((subjects.network_key(network.name), made(network, command, now)))
            continue
        changed = [name for name in FIXED if getattr(old, name) != getattr(network, name)]
        if changed:
            raise Conflict(
                f"network {network.name} exists with another {changed[0].replace('_', ' ')}",
                hint=f"remove what is on it and then the network: meshctl network rm {network.name}",
            )
    return records


def check_attached(records: Records, specs: Iterable[ServiceSpec], coming: Iterable[str]) -> None:
    """Raises NotFound: a network that is not there. Conflict: a port that another service publishes. Refused."""
    here = {*_names(records), *coming}
    owners = {(port.published, port.protocol): port.service for port in records.publish.ports}
    for spec in specs:
        container = spec.task.container
        for attachment in container.networks:
            if attachment.network not in here:
                hint = f"make it: meshctl network create {attachment.network}"
                raise NotFound(
                    f"service {spec.name} is on network {attachment.network}, which does not exist", hint=hint
                )
        if not container.networks and any(port.mode == "ingress" for port in container.ports):
            raise Refused(
                f"service {spec.name} publishes a port on every node and is on no network",
                hint=f"put it on one (meshctl network create {spec.name}-net, then --network {spec.name}-net),"
                " or publish the port with mode=host",
            )
        for port in ingress_ports(spec):
            others = [owners.get((number, port.protocol), spec.name) for number in port.choices]
            if others and spec.name not in others:
                one = len(others) == 1
                raise Conflict(
                    f"service {spec.name}: {taken(port, others)}",
                    hint="choose another port, or remove that service" if one else "choose another or a longer range",
                )


def services_on(desk: Desk, network: str) -> list[str]:
    """Services that stand and are on the network."""
    world = desk.leader.world()
    specs = ((name, spec_of(world, name)) for name in sorted(world.services))
    return [
        name
        for name, spec in specs
        if spec is not None and any(each.network == network for each in spec.task.container.networks)
    ]


def _view(desk: Desk, name: str) -> NetworkView:
    record, allocation = desk.records.networks[name].record, desk.records.allocations.get(name)
    subnet = allocation.subnet if allocation is not None else ""
    return NetworkView(
        record=record,
        allocation=allocation,
        services=tuple(services_on(desk, name)),
        ceiling=ceiling(IPv4Network(subnet), record.node_prefix) if subnet else 0,
    )


def _names(records: Records) -> list[str]:
    return sorted(name for name, stored in records.networks.items() if not stored.record.removed)


def _not_found(desk: Desk, name: str) -> NotFound:
    return not_found("network", name, _names(desk.records))
