"""Networks, rebuilt from what agents hold of them where a backup is older or there is none. Pure.

What was allotted (subnets, ranges, virtual addresses, published ports) is what runs by now: it always goes before a
backup's older word, for another allotment would give addresses out twice. Who answers is found out by the leader.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network

from meshctl.rebuilding import Rebuilt
from schemas import subjects
from schemas.network import AllocationRecord, NetworkRecord
from schemas.nodeapi import AssignmentView

NODE_PREFIX = NetworkRecord(name="any").node_prefix


def rebuilt_networks(
    networks: Mapping[str, NetworkRecord],
    allocations: Mapping[str, AllocationRecord],
    sequences: Mapping[str, int],
    views: Iterable[AssignmentView],
    *,
    intent: bool,
) -> Rebuilt:
    """What agents hold that is newer than the backup's. `sequences`: of the keys that this has.

    Each is compared with what the backup has of it: a store that was rolled back may have grown past what was lost.
    `intent`: whether networks that the backup does not know are to stand again.
    """
    rebuilt = Rebuilt()
    shown = list(views)
    last = max(shown, key=lambda view: view.published, default=None)
    attachable = last.publish.attachable if last is not None else ()
    newest = newest_allocations(shown)
    for name, (sequence, record, node) in sorted(newest.items()):
        key = subjects.allocation_key(name)
        if sequence <= sequences.get(key, sequences.get(subjects.network_key(name), -1)):
            continue  # the backup knows better, also that it was removed
        rebuilt.records[key] = (record, f"what {node} has been allotted")
        if intent and (name not in networks or networks[name].removed):
            network = network_of(record, shown, attachable=name in attachable)
            rebuilt.records[subjects.network_key(name)] = (network, f"{node} is on it")
            rebuilt.warnings.append(f"network {name}: its labels are lost; deploy its stack again to have them back")
        clashing = (other for other, held in allocations.items() if other not in newest and _clash(held, record))
        rebuilt.over |= {subjects.allocation_key(other) for other in clashing}
    if last is not None and last.published > sequences.get(subjects.PUBLISH, 0):
        rebuilt.records[subjects.PUBLISH] = (last.publish, f"what {last.node} publishes")
    return rebuilt


def _clash(older: AllocationRecord, newer: AllocationRecord) -> bool:
    """Whether one was given what the other had before: that network was removed since, and nobody is on it."""
    if not older.subnet or not newer.subnet:
        return False
    return older.vni == newer.vni or IPv4Network(older.subnet).overlaps(IPv4Network(newer.subnet))


def newest_allocations(views: Iterable[AssignmentView]) -> dict[str, tuple[int, AllocationRecord, str]]:
    """Network -> the newest allotment that anybody holds: its sequence, the record, and the node that holds it."""
    found: dict[str, tuple[int, AllocationRecord, str]] = {}
    for view in views:
        for name, record in view.allocations.items():
            sequence = view.allotted.get(name, 0)
            if name not in found or sequence > found[name][0]:
                found[name] = (sequence, record, view.node)
    return found


def network_of(record: AllocationRecord, views: Iterable[AssignmentView], *, attachable: bool = False) -> NetworkRecord:
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
        attachable=attachable,
        mtu=record.mtu,
        change="created",
    )
