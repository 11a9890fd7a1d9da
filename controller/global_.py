"""Which slots a global service should have: one on each node that may have it, named after the node.

A node that is silent keeps what it has and is not waited for; a drained or removed node, or one that the spec no longer
fits, is to give its task up. A paused node keeps its task and gets none.
"""

from __future__ import annotations

from collections.abc import Mapping

from controller.nodes import NodeView
from controller.placement_filters import fit_miss
from controller.work import Work


def wanted_nodes(work: Work, nodes: Mapping[str, NodeView]) -> tuple[str, ...]:
    """The nodes that should run the service, in order."""
    assert work.spec is not None, "without a spec nobody knows which nodes fit"
    return tuple(name for name, view in sorted(nodes.items()) if _wanted(work, view))


def _wanted(work: Work, view: NodeView) -> bool:
    assert work.spec is not None, "checked by the caller"
    if view.record is None or view.status == "unknown" or not view.settled:
        return bool(work.candidates(view.name))
    if view.leaving:
        return False
    if fit_miss(work.spec.task, view) is not None:
        # An agent that has just started has not looked around yet: what it has not told decides nothing.
        return not view.surveyed and bool(work.candidates(view.name))
    return view.open or bool(work.candidates(view.name))
