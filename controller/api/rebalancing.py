"""rebalance.plan, rebalance.apply, rebalance.stop, rebalance.get: moves that even out where tasks run.

The order holds the moves as they were told; the leader carries them out (`controller.moves`) and says how far it is.
"""

from __future__ import annotations

import dataclasses
from collections import Counter

import msgspec

from controller.api.desk import Desk, Draft
from controller.decide import survey
from controller.rebalance import even_out
from controller.whatif import heard_now
from schemas import subjects
from schemas.errors import Conflict, NotFound
from schemas.rebalance import MOVES_AT_MOST, Move
from schemas.rebalanceapi import (
    ApplyRebalance,
    GetRebalance,
    PlanRebalance,
    RebalanceOrdered,
    RebalancePlan,
    RebalanceView,
    StopRebalance,
)
from schemas.records import OrderRecord


async def plan(desk: Desk, request: PlanRebalance) -> RebalancePlan:
    """What would be moved."""
    await desk.catch_up()
    moves, open_nodes = _moves(desk)
    kept = moves[: request.max_moves or MOVES_AT_MOST]
    before = Counter(dict.fromkeys(open_nodes, 0))
    for node, stored in desk.records.assignments.items():
        before[node] += sum(task.desired == "running" for task in stored.record.tasks)
    after = Counter(before)
    for move in kept:
        after[move.source] -= 1
        after[move.target] += 1
    return RebalancePlan(
        moves=tuple(kept),
        left_out=len(moves) - len(kept),
        before=dict(sorted(before.items())),
        after=dict(sorted(after.items())),
    )


async def apply(desk: Desk, request: ApplyRebalance) -> RebalanceOrdered:
    """Order the moves. Raises Conflict: a rebalance is under way."""
    command = desk.command(request.command)
    name = subjects.suggest_token(command) or desk.command("")

    async def draft() -> Draft[RebalanceOrdered]:
        known = desk.records.rebalance
        if (stored := desk.records.orders.get(name)) is not None:
            return Draft(RebalanceOrdered(sequence=0, order=name, moves=stored.record.moves))
        if known is not None and known.order == name:
            return Draft(RebalanceOrdered(sequence=0, order=name, moves=tuple(each.move for each in known.moves)))
        if (known is not None and known.active) or _ordered(desk):
            raise Conflict("a rebalance is under way", hint="wait for it, or end it: meshctl rebalance --stop")
        moves = tuple(_moves(desk)[0][: request.max_moves or MOVES_AT_MOST])
        if not moves:
            return Draft(RebalanceOrdered(sequence=0))
        order = OrderRecord(id=name, kind="rebalance", at=desk.clock.wall(), by=command, moves=moves)
        return Draft(RebalanceOrdered(sequence=0, order=name, moves=moves), ((subjects.order_key(name), order),))

    answer, sequence = await desk.write(draft)
    return msgspec.structs.replace(answer, sequence=sequence)


async def stop(desk: Desk, request: StopRebalance) -> RebalanceOrdered:  # noqa: ARG001 - it says all by its name
    """Take the order back. Raises NotFound: there is none."""

    async def draft() -> Draft[RebalanceOrdered]:
        ordered = _ordered(desk)
        if not ordered:
            raise NotFound("no rebalance is under way")
        return Draft(
            RebalanceOrdered(sequence=0, order=ordered[0]), tuple((subjects.order_key(name), None) for name in ordered)
        )

    answer, sequence = await desk.write(draft)
    return msgspec.structs.replace(answer, sequence=sequence)


async def get(desk: Desk, request: GetRebalance) -> RebalanceView:
    """How far the last one is."""
    await desk.ready_to_read(request)
    ordered, record = _ordered(desk), desk.records.rebalance
    fresh = [name for name in ordered if record is None or record.order != name]
    return RebalanceView(record=record, ordered=fresh[0] if fresh else "")


def _moves(desk: Desk) -> tuple[list[Move], list[str]]:
    """All moves, and the nodes that take tasks."""
    now = desk.records.at
    world = heard_now(dataclasses.replace(desk.leader.world(), epoch=desk.records.epoch[0]), now)
    nodes = survey(world, now).nodes
    return even_out(world, nodes, now), [name for name, view in nodes.items() if view.open]


def _ordered(desk: Desk) -> list[str]:
    return sorted(name for name, each in desk.records.orders.items() if each.record.kind == "rebalance")
