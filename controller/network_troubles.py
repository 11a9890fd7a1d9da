"""What does not work of networks, as people are told it: by service, or of the mesh as a whole. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from controller.records import Records
from schemas.observation import Observation

SHOWN = 5
"""Nodes that are named."""


def network_troubles(records: Records, observations: Mapping[str, Observation]) -> dict[str, tuple[str, ...]]:
    """Service ("": none in particular) -> what does not work, with the nodes where it does not."""
    where: dict[tuple[str, str], list[str]] = {}
    for service, why, node in (*_observed(records, observations), *_decided(records)):
        where.setdefault((service, why), []).extend([node] if node else [])
    found: dict[str, tuple[str, ...]] = {}
    for (service, why), nodes in sorted(where.items()):
        found[service] = (*found.get(service, ()), f"{why}{_on(nodes)}")
    return found


def _observed(records: Records, observations: Mapping[str, Observation]) -> Iterator[tuple[str, str, str]]:
    """What agents tell: (service, why, node)."""
    owners = {f"{port.published}/{port.protocol}": port.service for port in records.publish.ports}
    for node, observation in sorted(observations.items()):
        stored = records.nodes.get(node)
        if stored is not None and not stored.record.removed:
            for thing, why in sorted(observation.troubles.items()):
                yield owners.get(thing, ""), why, node


def _decided(records: Records) -> Iterator[tuple[str, str, str]]:
    """What the leader could not give."""
    for service, why in sorted(records.publish.refused.items()):
        yield service, why, ""
    for name, allocation in sorted(records.allocations.items()):
        if allocation.why:
            yield "", f"network {name}: {allocation.why}", ""
        for node, why in sorted(allocation.without.items()):
            yield "", f"network {name}: {why}", node


def _on(nodes: list[str]) -> str:
    if not nodes:
        return ""
    more = f" and {len(nodes) - SHOWN} more" if len(nodes) > SHOWN else ""
    return f" (on {', '.join(nodes[:SHOWN])}{more})"
