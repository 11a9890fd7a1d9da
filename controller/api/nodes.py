"""node.list, node.inspect, node.update, node.remove."""

from __future__ import annotations

import msgspec

from controller import views
from controller.api.desk import Desk, Draft, not_found
from schemas import subjects
from schemas.errors import Refused
from schemas.memberapi import InspectNode, ListNodes, NodeList, NodeView, RemoveNode, UpdateNode
from schemas.nodelabels import label_trouble
from schemas.records import NodeRecord
from schemas.requests import Written


async def list_all(desk: Desk, request: ListNodes) -> NodeList:
    """Members, by name."""
    await desk.ready_to_read(request)
    controllers = tuple(beat.name for beat in desk.hearing.controllers())
    return NodeList(nodes=tuple(views.node_views(desk.records, desk.mirror.observations)), controllers=controllers)


async def inspect(desk: Desk, request: InspectNode) -> NodeView:
    """One member. Raises NotFound."""
    await desk.ready_to_read(request)
    existing(desk, request.node)
    return views.node_view(desk.records, desk.mirror.observations, request.node)


async def update(desk: Desk, request: UpdateNode) -> Written:
    """Availability and labels. Raises NotFound; Refused: with what is added no node may have them."""
    command = desk.command(request.command)

    async def draft() -> Draft[None]:
        record = existing(desk, request.node)
        labels = {key: value for key, value in record.labels.items() if key not in request.labels_remove}
        labels |= request.labels_add
        if request.labels_add and (why := label_trouble(labels)):
            raise Refused(f"node {request.node}: {why}")
        updated = msgspec.structs.replace(
            record,
            availability=request.availability or record.availability,
            force=request.force if request.availability else record.force,
            labels=labels,
            change=_change(record, request),
            cause=command,
        )
        kept = (record.availability, record.force, record.labels)
        same = (updated.availability, updated.force, updated.labels) == kept
        return Draft(None, () if same else ((subjects.node_key(request.node), updated),))

    _, sequence = await desk.write(draft)
    return Written(sequence=sequence)


async def remove(desk: Desk, request: RemoveNode) -> Written:
    """Take a node out of the mesh. Raises NotFound; Refused while it is not down, but for `force`.

    Its labels go with it, so that the record can be stored whatever they are.
    """
    command = desk.command(request.command)

    async def draft() -> Draft[None]:
        stored = desk.records.nodes.get(request.node)
        if stored is not None and stored.record.removed and request.command and stored.record.cause == request.command:
            return Draft(None)
        record = existing(desk, request.node)
        status = views.node_status(desk.records, request.node)
        if status != "down" and not request.force:
            raise Refused(
                f"node {request.node} is {status}, not down",
                hint=f"drain it and stop its agent first, or: meshctl node rm --force {request.node}",
            )
        gone = msgspec.structs.replace(record, removed=True, labels={}, change="removed", cause=command)
        return Draft(None, ((subjects.node_key(request.node), gone),))

    _, sequence = await desk.write(draft)
    return Written(sequence=sequence)


def existing(desk: Desk, name: str) -> NodeRecord:
    """A member's record. Raises NotFound."""
    stored = desk.records.nodes.get(name)
    if stored is None or stored.record.removed:
        members = [each for each, other in desk.records.nodes.items() if not other.record.removed]
        raise not_found("node", name, members)
    return stored.record


def _change(record: NodeRecord, request: UpdateNode) -> str:
    """What the event will be called: drained, paused, activated or updated."""
    if request.availability is None or request.availability == record.availability:
        return "updated"
    return {"drain": "draining", "pause": "paused", "active": "activated"}[request.availability]
