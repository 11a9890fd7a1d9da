"""One round's decisions about networks: allotments, endpoints, published ports. Pure; asked by `controller.plan`.

It looks at the assignments as the round leaves them, so that a task that is told to end leaves its endpoints in the
same commit. Where no network stands and none was allotted it costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network

import msgspec

from controller.changes import DropAllocation, DropEndpoints, NetworkChange, PutAllocation, PutEndpoints, PutPublish
from controller.decide import Decided, Survey
from controller.endpoints import backends_of, endpoints_of, publish
from controller.networks import Needs, Taken, allot
from controller.nodes import NodeView
from controller.tunnels import tunnels_of
from controller.work import aim_of
from controller.world import World
from schemas.network import AllocationRecord, Attachment, PublishRecord
from schemas.spec import ServiceSpec


def plan_networks(world: World, seen: Survey, decided: Decided, names: frozenset[str]) -> Iterator[NetworkChange]:
    """What changes, given that the services `names` are to be looked at."""
    if not (world.networks or world.allocations or world.endpoints):
        return
    specs = {name: spec for name in sorted(world.services) if (spec := spec_of(world, name)) is not None}
    published = msgspec.structs.replace(publish(specs.values(), world.publish), attachable=_attachable(world))
    using = _using(seen.nodes, decided)
    allocations = dict(_allocations(world, seen.nodes, using, specs, published))
    for name, record in allocations.items():
        if record != world.allocations.get(name):
            yield PutAllocation(record)
    for name in sorted(world.allocations):
        if _is_removed(world, name) and not using.get(name):
            yield DropAllocation(name)
    yield from _endpoints(world, seen.nodes, decided, {n: s for n, s in specs.items() if n in names}, allocations)
    for network, service in sorted(world.endpoints):
        if service not in specs or all(each.network != network for each in _networks(specs[service])):
            yield DropEndpoints(network, service)
    if published != world.publish:
        yield PutPublish(published)


def spec_of(world: World, service: str) -> ServiceSpec | None:
    """What the service is by the intent that holds now; None: it is removed, or its revision is not in the store."""
    record = world.services[service].record
    if record.removed:
        return None
    revision = world.revisions.get((service, aim_of(record, world.rollouts.get(service)).revision))
    return revision.spec if revision is not None else None


def taken_by_others(world: World, network: str) -> Taken:
    """What `network` must keep clear of: other networks, and what machines route."""
    return _taken(world, network, _routes(world))


def _taken(world: World, network: str, routes: Mapping[str, str]) -> Taken:
    others = [record for name, record in world.allocations.items() if name != network and not _is_removed(world, name)]
    subnets = frozenset(record.subnet for record in others if record.subnet)
    return Taken(subnets, frozenset(record.vni for record in others), routes)


def _networks(spec: ServiceSpec) -> tuple[Attachment, ...]:
    return spec.task.container.networks


def _routes(world: World) -> dict[str, str]:
    """Range -> whose. What is no range counts for nothing; a default route collides with nobody.

    Nodes may tell very many: it is asked for only where something new is allotted.
    """
    found: dict[str, str] = {}
    for name, observation in sorted(world.observations.items()):
        for text in observation.facts.routes:
            try:
                route = IPv4Network(text)
            except ValueError:
                continue
            if route.prefixlen:
                found[text] = name
    return found


def _is_removed(world: World, network: str) -> bool:
    stored = world.networks.get(network)
    return stored is not None and stored.record.removed


def _attachable(world: World) -> tuple[str, ...]:
    found = (name for name, stored in world.networks.items() if stored.record.attachable and not stored.record.removed)
    return tuple(sorted(found))


def _allocations(
    world: World,
    nodes: Mapping[str, NodeView],
    using: Mapping[str, set[str]],
    specs: Mapping[str, ServiceSpec],
    published: PublishRecord,
) -> Iterator[tuple[str, AllocationRecord]]:
    everywhere = {port.network for port in published.ports} | set(published.attachable)
    members = {name: view for name, view in nodes.items() if view.record and not view.record.removed}
    tunnels = tunnels_of(members, world.allocations.values())
    on = _services_on(specs)
    removed = frozenset(name for name, view in nodes.items() if view.record and view.record.removed)
    vnis: set[int] = set()
    subnets: set[str] = set()
    routes: Mapping[str, str] | None = None
    for name, stored in sorted(world.networks.items()):
        if stored.record.removed:
            continue
        needed = set(members) if name in everywhere else using.get(name, set())
        needs = Needs(
            nodes={node: tunnels[node] for node in sorted(needed) if node in members},
            services=frozenset(on.get(name, ())),
            removed=removed,
            idle=tunnels,
        )
        prior, taken = world.allocations.get(name), Taken()
        if prior is None or not prior.subnet:
            routes = _routes(world) if routes is None else routes
            taken = _taken(world, name, routes)
            taken = Taken(taken.subnets | subnets, taken.vnis | vnis, routes)
        record = allot(stored.record, prior, needs, taken)
        vnis.add(record.vni)
        subnets |= {record.subnet} - {""}
        yield name, record


def _services_on(specs: Mapping[str, ServiceSpec]) -> dict[str, set[str]]:
    """Network -> the services on it."""
    found: dict[str, set[str]] = {}
    for name, spec in specs.items():
        for attachment in _networks(spec):
            found.setdefault(attachment.network, set()).add(name)
    return found


def _using(nodes: Mapping[str, NodeView], decided: Decided) -> dict[str, set[str]]:
    """Network -> nodes with a task on it, as this round leaves them."""
    found: dict[str, set[str]] = {}
    known: dict[str, tuple[Attachment, ...]] = {}
    for node in nodes:
        for hash_ in {task.spec for task in decided.draft.tasks(node)}:
            networks = known.get(hash_)
            if networks is None and (spec := decided.draft.spec(node, hash_)) is not None:
                # A hash is that of the content: it says the same on every node.
                networks = known[hash_] = spec.container.networks
            for attachment in networks or ():
                found.setdefault(attachment.network, set()).add(node)
    return found


def _endpoints(
    world: World,
    nodes: Mapping[str, NodeView],
    decided: Decided,
    specs: Mapping[str, ServiceSpec],
    allocations: Mapping[str, AllocationRecord],
) -> Iterator[PutEndpoints]:
    backends = backends_of(frozenset(specs), nodes, decided.draft, allocations)
    for key, record in endpoints_of(specs, allocations, backends).items():
        if record != world.endpoints.get(key):
            yield PutEndpoints(record)
