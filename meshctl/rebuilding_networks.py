"""Networks, rebuilt from what agents hold of them where a backup is older or there is none. Pure.

What was allotted (subnets, ranges, virtual addresses, published ports) is what runs by now: it always goes before a
backup's older word, for another allotment would give addresses out twice. Who answers is found out by the leader.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from ipaddress import IPv4Network

from meshctl.rebuilding import Rebuilt
from schemas import subjects
from schemas.network import AllocationRecord, NetworkRecord
from schemas.nodeapi import AssignmentView

NODE_PREFIX = NetworkRecord(name="any").node_prefix


def rebuilt_networks(
    networks: Mapping[str, NetworkRecord],
    stored: Collection[str],
    since: int,
    views: Iterable[AssignmentView],
    *,
    intent: bool,
) -> Rebuilt:
    """What agents hold that is newer than `since`, the sequence of the backup. `stored`: the keys that this has.

    `intent`: whether networks that the backup does not know are to stand again.
    """
    rebuilt = Rebuilt()
    shown = list(views)
    for name, (sequence, record, node) in sorted(newest_allocations(shown).items()):
        key = subjects.allocation_key(name)
        if sequence <= since and (key in stored or name in networks):
            continue  # the backup knows better, also that it was removed
        rebuilt.records[key] = (record, f"what {node} has been allotted")
        if intent and name not in networks:
            rebuilt.records[subjects.network_key(name)] = (network_of(record, shown), f"{node} is on it")
            rebuilt.warnings.append(f"network {name}: its labels are lost; deploy its stack again to have them back")
    last = max(shown, key=lambda view: view.published, default=None)
    if last is not None and last.published > since:
        rebuilt.records[subjects.PUBLISH] = (last.publish, f"what {last.node} publishes")
    return rebuilt


def newest_allocations(views: Iterable[AssignmentView]) -> dict[str, tuple[int, AllocationRecord, str]]:
    """Network -> the newest allotment that anybody holds: its sequence, the record, and the node that holds it."""
    found: dict[str, tuple[int, AllocationRecord, str]] = {}
    for view in views:
        for name, record in view.allocations.items():
            sequence = view.allotted.get(name, 0)
            if name not in found or sequence > found[name][0]:
                found[name] = (sequence, record, view.node)
    return found


def network_of(record: AllocationRecord, views: Iterable[AssignmentView]) -> NetworkRecord:
    """The intent behind an allotment. A stack's is called after it, and used by nobody else."""
    stacks = {
        task.stack
        for view in views
        if view.assignment is not None
        for task in view.assignment.tasks
        if (spec := view.assignment.specs.get(task.spec)) is not None
        and any(each.network == record.network for each in spec.container.networks)
    }
    stack = next(iter(stacks)) if len(stacks) == 1 else ""
    prefixes = {IPv4Network(held.range).prefixlen for held in record.nodes.values()}
    return NetworkRecord(
        name=record.network,
        stack=stack if stack and record.network.startswith(f"{stack}_") else "",
        node_prefix=min(prefixes, default=NODE_PREFIX),
        internal=record.internal,
        mtu=record.mtu,
        change="created",
    )
