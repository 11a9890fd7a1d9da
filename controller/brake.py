"""The brake: when too many nodes fall silent at once, the fault is more likely ours than theirs.

Before a node is declared down the silent ones are counted. More than half of those that were ready within the last
minute, and at least 3: replacements for lost tasks are held back, and `status` says so. What users newly want
still goes to nodes that answer. It is let go when enough nodes are back, or by an operator's order; an order accepts
the nodes that are silent then as lost.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from controller.liveness import Judged
from controller.world import Stored, World
from schemas.records import BrakeRecord, LivenessRecord, OrderRecord

WINDOW = 60.0
"""Seconds: nodes that were ready within so long are what the silent ones are compared with."""

AT_LEAST = 3
"""Fewer silent nodes never pull the brake."""

SETTLE = 10.0
"""Seconds after an operator's release within which a node that was silent then may still be declared down."""


def decide_brake(world: World, judged: Mapping[str, Judged], now: float) -> BrakeRecord:
    """The brake as it should stand."""
    order = _release_order(world)
    silent = {name for name, verdict in judged.items() if verdict.silent}
    if world.brake.engaged:
        lately = {name for name in silent if _down_since(judged.get(name)) > world.brake.since - WINDOW}
        return _while_engaged(world.brake, lately, order, now)
    record = world.brake
    if order is not None and order.sequence > record.order:
        record = msgspec.structs.replace(record, order=order.sequence)
    if not any(_newly_down(verdict, now) for verdict in judged.values()):
        return record
    reference = {name for name, verdict in judged.items() if _was_ready(world.liveness.get(name), verdict, now)}
    accepted = {name for name in record.silent if _down_since(judged.get(name)) <= record.since + SETTLE}
    counted = (silent & reference) - accepted
    if not _too_many(len(counted), len(reference)):
        return record
    return BrakeRecord(
        engaged=True,
        since=now,
        silent=tuple(sorted(counted)),
        of=len(reference),
        why=f"{len(counted)} of {len(reference)} nodes fell silent at once",
        order=record.order,
    )


def _too_many(silent: int, of: int) -> bool:
    return silent >= AT_LEAST and silent * 2 > of


def _release_order(world: World) -> Stored[OrderRecord] | None:
    orders = [order for order in world.orders.values() if order.record.kind == "brake.release"]
    return max(orders, key=lambda order: order.sequence, default=None)


def _while_engaged(brake: BrakeRecord, silent: set[str], order: Stored[OrderRecord] | None, now: float) -> BrakeRecord:
    still = tuple(sorted(silent))
    if order is not None and order.sequence > brake.order:
        why = f"released by an operator while {len(still)} nodes were silent"
        return BrakeRecord(
            since=now, silent=still, of=brake.of, why=why, released_by=order.record.id, order=order.sequence
        )
    if _too_many(len(still), brake.of):
        return msgspec.structs.replace(brake, silent=still)
    return BrakeRecord(since=now, of=brake.of, why="enough nodes are back", order=brake.order)


def _newly_down(verdict: Judged, now: float) -> bool:
    record = verdict.record
    return record is not None and record.verdict == "down" and not record.ended and record.since > now - WINDOW


def _was_ready(prior: LivenessRecord | None, verdict: Judged, now: float) -> bool:
    """Ready now, or until less than a minute ago."""
    if prior is None:
        return verdict.status == "ready"
    if prior.verdict == "ready":
        return True
    return prior.since > now - WINDOW


def _down_since(verdict: Judged | None) -> float:
    """When the silent node was declared down; for ever ago if it is gone, never if it answers."""
    if verdict is None:
        return float("-inf")
    if verdict.record is None or verdict.record.verdict != "down":
        return float("inf")
    return verdict.record.since
