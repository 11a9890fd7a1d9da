"""Who answers behind each name: endpoints from observed tasks, and the ports that every node publishes. Pure.

A backend is a task that is up (healthy, where there is a health check) on a node that is not down, and that is not to
end: so a task that the same round tells to stop leaves the endpoints with it, and its agent waits for that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from controller.draft import Draft
from controller.nodes import NodeView
from schemas.network import AllocationRecord, Attachment, Backend, EndpointsRecord, Publication, PublishRecord
from schemas.observation import ObservedTask
from schemas.spec import Port, ServiceSpec

FREE_PORTS = range(30_000, 32_768)
"""Where published ports come from that nobody names."""


def backends_of(
    services: frozenset[str], nodes: Mapping[str, NodeView], draft: Draft
) -> dict[tuple[str, str], tuple[Backend, ...]]:
    """(network, service) -> the tasks that take connections there, in order."""
    found: dict[tuple[str, str], list[Backend]] = {}
    for name, view in nodes.items():
        if view.observation is None or view.status == "down" or view.gone or not view.settled:
            continue
        asked = [task for task in view.observation.tasks if task.service in services]
        ending = {task.id for task in draft.tasks(name) if task.desired == "shutdown"} if asked else set[str]()
        for task in asked:
            if task.addresses and task.up and _stays(task, ending):
                for network, address in task.addresses.items():
                    backend = Backend(task=task.id, node=name, address=address)
                    found.setdefault((network, task.service), []).append(backend)
    return {key: tuple(sorted(each, key=lambda backend: backend.task)) for key, each in found.items()}


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
    """The records of these services (those that stand, with their specs)."""
    found: dict[tuple[str, str], EndpointsRecord] = {}
    for service, spec in sorted(specs.items()):
        for attachment in spec.task.container.networks:
            key = (attachment.network, service)
            allocation = allocations.get(attachment.network)
            found[key] = EndpointsRecord(
                network=attachment.network,
                service=service,
                mode=spec.endpoint_mode,
                vip=allocation.services.get(service, "") if allocation and spec.endpoint_mode == "vip" else "",
                names=names_of(spec, attachment),
                backends=backends.get(key, ()),
            )
    return found


def publish(specs: Iterable[ServiceSpec], prior: PublishRecord) -> PublishRecord:
    """All published ports. Who has one keeps it, else the first by name gets it; the other is told whose it is."""
    held = {(port.published, port.protocol): port.service for port in prior.ports}
    kept = {(port.service, port.target, port.protocol): port.published for port in prior.ports}
    wanted = [(spec, port) for spec in sorted(specs, key=lambda spec: spec.name) for port in ingress_ports(spec)]
    wanted.sort(key=lambda pair: held.get((pair[1].published, pair[1].protocol)) != pair[0].name)
    named = {(port.published, port.protocol) for _, port in wanted if port.published}
    given: dict[tuple[int, str], Publication] = {}
    refused: dict[str, str] = {}
    for spec, port in wanted:
        number = port.published or kept.get((spec.name, port.target, port.protocol), 0)
        if not port.published and (not number or (number, port.protocol) in given.keys() | named):
            number = next((each for each in FREE_PORTS if (each, port.protocol) not in given.keys() | named), 0)
        owner = given.get((number, port.protocol))
        if not number:
            refused[spec.name] = "no free port is left"
        elif owner is not None and (owner.service, owner.target) != (spec.name, port.target):
            refused[spec.name] = f"port {number}/{port.protocol} is published by {owner.service}"
        else:
            given[(number, port.protocol)] = _publication(spec, port, number)
    return PublishRecord(ports=tuple(given[key] for key in sorted(given)), refused=refused)


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
