"""Members, as their agents show them where a backup is older or there is none. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from meshctl.evidence import Known
from meshctl.rebuilding import Rebuilt
from schemas import subjects
from schemas.nodeapi import AssignmentView
from schemas.records import LivenessRecord, NodeRecord


def rebuilt_members(
    nodes: Mapping[str, NodeRecord],
    sequences: Mapping[str, int],
    liveness: Mapping[str, LivenessRecord],
    known: Known,
    views: Mapping[str, AssignmentView],
    now: float,
    *,
    intent: bool,
) -> Rebuilt:
    """Agents that the backup does not know as members, or as what they are by now. `sequences`: of its keys.

    `intent`: whether a node that is in use by now is to stay so. That a node is down, or was confirmed dead, is no more
    true of one that answers: the leader would give its tasks to others before it has heard it.
    """
    rebuilt = Rebuilt()
    down = {node for node in views if node in liveness and liveness[node].verdict == "down"}
    rebuilt.over |= {subjects.liveness_key(node) for node in down}
    for node, view in sorted(views.items()):
        key, old = subjects.node_key(node), nodes.get(node)
        tasks = view.assignment.tasks if view.assignment is not None else ()
        if old is None or (old.instance != view.instance and _obeyed_since(sequences[key], view)):
            labels = dict(view.labels)
            record = NodeRecord(name=node, instance=view.instance, labels=labels, joined_at=max(0.0, now))
            why = "its agent answers; the backup does not know it" if old is None else "another agent has it by now"
            rebuilt.records[key] = (record, why)
        elif intent and old.availability == "drain" and not old.removed and not known.knows(tasks):
            record = msgspec.structs.replace(old, availability="active", force=False)
            rebuilt.records[key] = (record, "drained in the backup, and has been given tasks since")
    return rebuilt


def _obeyed_since(joined: int, view: AssignmentView) -> bool:
    """Whether it was assigned something after that record was written: an agent that is refused obeys nothing."""
    return view.assignment is not None and view.applied.sequence > joined
