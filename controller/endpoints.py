"""Who answers behind each name: endpoints from observed tasks, and the ports that every node publishes. Pure.

A backend is a task that is up (healthy, where there is a health check) on a node that is not down, and that is not to
end: so a task that the same round tells to stop leaves the endpoints with it, and its agent waits for that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network

from controller.draft import Draft
from controller.nodes import NodeView
from schemas.network import (
    AllocationRecord,
    Attachment,
    Backend,
    EndpointsRecord,
    Publication,
    PublishRecord,
    is_address,
)
from schemas.observation import ObservedTask
from schemas.ports import Port
from schemas.spec import ServiceSpec
from schemas.task_ids import lineage

LAST_PORT = 65_535
PASSES = 4
"""At most, until ranges of one service that meet have come to rest: two were seen."""
FREE_PORTS = range(30_000, 32_768)
"""Where published ports come from that nobody names."""

Wanted = tuple[ServiceSpec, Port, range]
"""A port of a service, and those of the nodes' ports that will do."""

OWNERS_TOLD = 3
"""Services that are named of those that have a whole range."""


def backends_of(
    services: frozenset[str],
    nodes: Mapping[str, NodeView],
    draft: Draft,
    allocations: Mapping[str, AllocationRecord],
) -> dict[tuple[str, str], tuple[Backend, ...]]:
    """(network, service) -> the tasks that take connections there, in order.

    Only tasks that are the node's by its assignment, with addresses out of its own range: what else an agent tells is
    its own affair, and would stand in every other node's rules.
    """
    found: dict[tuple[str, str], list[Backend]] = {}
    for name, view in nodes.items():
        if view.observation is None or view.status == "down" or view.gone or not view.settled:
            continue
        asked = [task for task in view.observation.tasks if task.service in services]
        assigned = list(draft.tasks(name)) if asked else []
        ending = {task.id for task in assigned if task.desired == "shutdown"}
        named = {(task.service, lineage(task.id)) for task in assigned}
        for task in asked:
            if (task.service, lineage(task.id)) in named and task.up and _stays(task, ending):
                for network, address in task.addresses.items():
                    allocation = allocations.get(network)
                    held = allocation.nodes.get(name) if allocation is not None else None
                    if held is None or not _lies_in(address, held.range):
                        continue
                    backend = Backend(task=task.id, node=name, address=address)
                    found.setdefault((network, task.service), []).append(backend)
    return {key: tuple(sorted(each, key=lambda backend: backend.task)) for key, each in found.items()}


@lru_cache(maxsize=100_000)
def _lies_in(address: str, within: str) -> bool:
    """Whether it is an address of that range."""
    return is_address(address) and IPv4Address(address) in IPv4Network(within)


def _stays(task: ObservedTask, ending: set[str]) -> bool:
    return task.id not in ending and task.predecessor not in ending


def names_of(spec: ServiceSpec, attachment: Attachment) -> tuple[str, ...]:
    """By which the service is asked for on that network."""
    names = [spec.name, *attachment.aliases]
    if spec.stack:
        short = spec.name.removeprefix(f"{spec.stack}_")
        names += [short, f"{short}.{spec.stack}"]
    return tuple(sorted({name.lower() for name in names}))


def endpoints_of(
    specs: Mapping[str, ServiceSpec],
    allocations: Mapping[str, AllocationRecord],
    backends: Mapping[tuple[str, str], tuple[Backend, ...]],
) -> dict[tuple[str, str], EndpointsRecord]:
    """The records of these services (those that stand, with their specs) on networks that are allotted."""
    found: dict[tuple[str, str], EndpointsRecord] = {}
    for service, spec in sorted(specs.items()):
        for attachment in spec.task.container.networks:
            key = (attachment.network, service)
            allocation = allocations.get(attachment.network)
            if allocation is None:
                continue
            found[key] = EndpointsRecord(
                network=attachment.network,
                service=service,
                mode=spec.endpoint_mode,
                vip=allocation.services.get(service, "") if spec.endpoint_mode == "vip" else "",
                names=names_of(spec, attachment),
                backends=backends.get(key, ()),
            )
    return found


def publish(specs: Iterable[ServiceSpec], prior: PublishRecord) -> PublishRecord:
    """All published ports. Who has one keeps it, else the first by name gets it; the other is told whose it is.

    Ports that are named go first. Of the others each keeps what it was given as long as nobody names that port and it
    is one of those that will do; the new ones come last, by the end of their ranges, then those that can be any.
    """
    specs, found = tuple(specs), prior
    for _ in range(PASSES):
        before, found = found, _published(specs, found)
        if found == before:
            break
    return found


def _published(specs: Iterable[ServiceSpec], prior: PublishRecord) -> PublishRecord:
    wanted = [
        (spec, port, port.choices) for spec in sorted(specs, key=lambda spec: spec.name) for port in ingress_ports(spec)
    ]
    had: dict[tuple[str, int, str], list[int]] = {}
    for kept in prior.ports:
        had.setdefault((kept.service, kept.target, kept.protocol), []).append(kept.published)
    given: dict[tuple[int, str], Publication] = {}
    refused: dict[str, str] = {}

    def give(spec: ServiceSpec, port: Port, numbers: Iterable[int]) -> bool:
        number = next((each for each in numbers if (each, port.protocol) not in given), 0)
        if number:
            given[(number, port.protocol)] = _publication(spec, port, number)
        return number > 0

    for spec, port in _named(wanted, prior):
        owner = given.get((port.published, port.protocol))
        if owner is not None and (owner.service, owner.target) != (spec.name, port.target):
            refused[spec.name] = taken(port, [owner.service])
        else:
            given[(port.published, port.protocol)] = _publication(spec, port, port.published)
    new = list[Wanted]()
    for key, group in _open(wanted).items():
        waiting = list(group)
        for old in sorted(had.get(key, ())):
            will_do = [each for each in waiting if not each[2] or old in each[2]]
            # To who has the fewest higher ones to go to: else those that are left may not fit the others.
            first = min(will_do, key=_last, default=None)
            if first is not None and give(first[0], first[1], [old]):
                waiting.remove(first)
        new += waiting
    for spec, port, choices in sorted(new, key=_last):
        if not give(spec, port, choices or FREE_PORTS):
            owners = [given[(each, port.protocol)].service for each in choices]
            refused[spec.name] = taken(port, owners) if owners else "no free port is left"
    return PublishRecord(ports=tuple(given[key] for key in sorted(given)), refused=refused)


def _named(wanted: list[Wanted], prior: PublishRecord) -> list[tuple[ServiceSpec, Port]]:
    """Those that can be one port only; first who has it."""
    held = {(port.published, port.protocol): port.service for port in prior.ports}
    named = [(spec, port) for spec, port, choices in wanted if len(choices) == 1]
    return sorted(named, key=lambda pair: held.get((pair[1].published, pair[1].protocol)) != pair[0].name)


def _last(wanted: Wanted) -> int:
    """The highest port that will do."""
    return wanted[2][-1] if wanted[2] else LAST_PORT + 1


def _open(wanted: list[Wanted]) -> dict[tuple[str, int, str], list[Wanted]]:
    """Those that can be one port or another, by service, target and protocol."""
    found: dict[tuple[str, int, str], list[Wanted]] = {}
    for spec, port, choices in wanted:
        if len(choices) != 1:
            found.setdefault((spec.name, port.target, port.protocol), []).append((spec, port, choices))
    return found


def taken(port: Port, owners: Sequence[str]) -> str:
    """What is told of a port whose choices others have: `owners` of each."""
    names = list(dict.fromkeys(owners))
    more = f" and {len(names) - OWNERS_TOLD} more" if len(names) > OWNERS_TOLD else ""
    published = f"published by {', '.join(names[:OWNERS_TOLD])}{more}"
    if len(port.choices) > 1:
        return f"no port of {port.span}/{port.protocol} is free: {published}"
    return f"port {port.span}/{port.protocol} is {published}"


def ingress_ports(spec: ServiceSpec) -> Iterator[Port]:
    """The ports that every node is to publish; none without a network to reach the service on."""
    if spec.task.container.networks:
        yield from (port for port in spec.task.container.ports if port.mode == "ingress")


def _publication(spec: ServiceSpec, port: Port, number: int) -> Publication:
    return Publication(
        published=number,
        target=port.target,
        protocol=port.protocol,
        service=spec.name,
        network=spec.task.container.networks[0].network,
        local=port.local,
    )
