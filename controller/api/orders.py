"""order.give: something an operator tells the leader. The leader's next round answers it; then it is cleared away."""

from __future__ import annotations

import msgspec

from controller.api.desk import Desk, Draft
from controller.api.nodes import existing
from schemas import subjects
from schemas.errors import Refused
from schemas.records import OrderRecord
from schemas.requests import Written
from schemas.statusapi import GiveOrder

KINDS: tuple[str, ...] = ("brake.release", "node.confirm-dead", "rebalance")


async def give(desk: Desk, request: GiveOrder) -> Written:
    """Write the order down. Raises NotFound, Refused."""
    if request.kind not in KINDS:
        raise Refused(f"there is no order {request.kind!r}", hint=f"orders are {', '.join(KINDS)}")
    command = desk.command(request.command)
    name = subjects.suggest_token(command) or desk.command("")

    async def draft() -> Draft[None]:
        if name in desk.records.orders:
            return Draft(None)
        if request.kind == "node.confirm-dead":
            existing(desk, request.node)
        elif request.node:
            raise Refused(f"the order {request.kind} names no node")
        fields = {"id": name, "kind": request.kind, "node": request.node, "at": desk.clock.wall(), "by": command}
        order = msgspec.convert(fields, OrderRecord)
        return Draft(None, ((subjects.order_key(name), order),))

    _, sequence = await desk.write(draft)
    return Written(sequence=sequence)
