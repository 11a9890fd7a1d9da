"""agentapi join: a node's name is bound to one agent, for as long as the node is a member."""

from __future__ import annotations

import msgspec

from controller.api.desk import Desk, Draft
from schemas import subjects
from schemas.errors import Refused, StoreMissing, Unreachable
from schemas.memberapi import Join, Joined
from schemas.nodelabels import label_trouble
from schemas.records import NodeRecord

INSTANCE_LENGTH = 128
"""Characters of an agent's instance id, at most: agents make 20."""


async def join(desk: Desk, node: str, request: Join) -> Joined:
    """Make the agent a member; the same agent may ask again and again.

    Raises:
        Refused: the name belongs to another agent, this agent's node was removed, another machine is it now, or its
            labels are not such as a node may have.
        Unreachable: the store is not to be trusted now.
    """
    if request.node != node:
        raise Refused(f"an agent asks for the name {request.node} on the subject of {node}")
    if desk.leader.frozen:
        raise Unreachable(f"nobody joins now: {desk.leader.frozen}")
    if not request.instance:
        raise Refused(f"the agent of {node} names no instance id")
    if len(request.instance) > INSTANCE_LENGTH:
        raise Refused(f"the agent of {node} names an instance id of more than {INSTANCE_LENGTH} characters")
    stored = desk.records.nodes.get(node)
    if stored and stored.record.instance == request.instance and (why := desk.hearing.usurped(node, request.boot)):
        raise Refused(why, hint="give this one a data directory and a --node name of its own")

    async def draft() -> Draft[None]:
        stored = desk.records.nodes.get(node)
        old = stored.record if stored else None
        if old is None:
            labels = dict(request.labels)
            record = NodeRecord(
                name=node, instance=request.instance, labels=labels, joined_at=desk.clock.wall(), change="joined"
            )
        elif old.removed:
            record = _returning(old, request, desk.clock.wall())
        else:
            _check_same(old, request)
            labels = request.labels | old.labels
            record = msgspec.structs.replace(old, labels=labels, change="updated")
            if labels == old.labels:
                return Draft(None)
        _check_labels(record)
        return Draft(None, ((subjects.node_key(node), record),))

    _, sequence = await desk.write(draft)
    mesh = desk.records.mesh
    if mesh is None:
        raise StoreMissing("the state stream holds no `mesh` record")
    return Joined(mesh_id=mesh.mesh_id, generation=mesh.generation, sequence=sequence)


def _check_same(old: NodeRecord, request: Join) -> None:
    if old.instance != request.instance:
        raise Refused(
            f"node name {old.name} is taken by another agent ({old.instance[:12]}), not by {request.instance[:12]}",
            hint=f"give this agent another --node name, or, if the other is gone for good: meshctl node rm {old.name}",
        )


def _check_labels(record: NodeRecord) -> None:
    """Raises Refused. Else what an agent tells once could keep its node from being drained: that record is larger."""
    if why := label_trouble(record.labels):
        raise Refused(
            f"node {record.name} can't join with its labels: {why}",
            hint="mend its agent's --label options, or take labels away: meshctl node update --label-rm",
        )


def _returning(old: NodeRecord, request: Join, now: float) -> NodeRecord:
    """A removed name may be taken again, but not by the agent that was removed: it would undo the removal by itself."""
    if old.instance == request.instance:
        raise Refused(
            f"node {old.name} was removed from the mesh",
            hint="to bring it back as a new member remove the agent's identity from its data directory",
        )
    return NodeRecord(
        name=old.name, instance=request.instance, labels=dict(request.labels), joined_at=now, change="joined"
    )
