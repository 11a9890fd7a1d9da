"""Operators' orders about nodes: `node.confirm-dead` says that nothing of a node runs any more.

An order is carried out once: the verdict keeps its sequence. For a node that is not down it does nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import msgspec

from controller.liveness import Judged
from controller.world import World


def confirm_dead(world: World, judged: Mapping[str, Judged], now: float) -> dict[str, Judged]:
    """The verdicts with such orders in them."""
    found = dict(judged)
    orders = sorted(world.orders.values(), key=lambda order: order.sequence)
    for order in orders:
        verdict = found.get(order.record.node)
        if order.record.kind != "node.confirm-dead" or verdict is None or verdict.record is None:
            continue
        record = verdict.record
        if order.sequence <= record.order:
            continue
        if record.verdict == "down":
            why = "an operator confirmed that it is dead"
            record = msgspec.structs.replace(record, ended=True, since=now, why=why)
        found[order.record.node] = replace(verdict, record=msgspec.structs.replace(record, order=order.sequence))
    return found
