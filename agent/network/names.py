"""What a container is answered when it asks for a name. Pure.

Who asks is known by the address: names hold on the networks that the asker is on, and nowhere else. A name that exists
without anybody who answers is told as empty; one of a single word that does not exist as unknown; the rest is asked of
the machine's own resolvers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import TypeAlias

from agent.network.model import View
from schemas.network import EndpointsRecord

VIP_TTL = 5
TASKS_TTL = 1
"""Seconds: virtual addresses seldom change, tasks do."""

TASKS = "tasks."


@dataclass(frozen=True)
class Answer:
    """These addresses; none: the name exists, and nobody answers there (or not in that family)."""

    addresses: tuple[str, ...] = ()
    ttl: int = TASKS_TTL


@dataclass(frozen=True)
class Unknown:
    """There is no such name."""


@dataclass(frozen=True)
class Forward:
    """It is none of the mesh's: ask the machine's resolvers."""


Reply: TypeAlias = Answer | Unknown | Forward


@dataclass(frozen=True)
class Names:
    """All names, by network; and who is where."""

    networks: Mapping[str, Mapping[str, EndpointsRecord]] = field(default_factory=dict)
    """Network -> name -> record."""
    subnets: tuple[tuple[IPv4Network, str], ...] = ()
    homes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Address of a task of this node -> all networks that it is on."""


def names_of(view: View, homes: Iterable[Mapping[str, str]]) -> Names:
    """The names of a view. `homes`: of each task of this node its addresses by network."""
    networks: dict[str, dict[str, EndpointsRecord]] = {}
    for key in sorted(view.endpoints):
        record = view.endpoints[key]
        for name in record.names:
            networks.setdefault(record.network, {}).setdefault(name, record)
    subnets = tuple(
        (IPv4Network(record.subnet), record.network) for record in view.allocations.values() if record.subnet
    )
    return Names(networks, subnets, {address: tuple(sorted(each)) for each in homes for address in each.values()})


def reply_to(names: Names, asker: str, question: str, kind: str) -> Reply:
    """The reply to `asker` (an address) for a name and a record type ("A", "AAAA", ...)."""
    name = question.lower().rstrip(".")
    found = _records(names, asker, name.removeprefix(TASKS))
    if not found:
        return Forward() if "." in name and not name.startswith(TASKS) else Unknown()
    if kind != "A":
        return Answer()
    vips = tuple(record.vip for record in found if record.vip)
    if vips and not name.startswith(TASKS):
        return Answer(vips[:1], VIP_TTL)
    return Answer(tuple(dict.fromkeys(each.address for record in found for each in record.backends)), TASKS_TTL)


def _records(names: Names, asker: str, name: str) -> list[EndpointsRecord]:
    """In the order of the asker's networks."""
    on = names.homes.get(asker) or tuple(n for subnet, n in names.subnets if IPv4Address(asker) in subnet)
    return [record for network in on if (record := names.networks.get(network, {}).get(name)) is not None]
