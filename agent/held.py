"""Answers what this agent obeys: of that a lost or rolled-back store is rebuilt (`meshctl state recover`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from agent.assignments import Assignments
from agent.membership import Membership
from agent.network.model import View
from agent.observing import Observer
from agent.uptimes import Uptimes
from schemas import subjects
from schemas.nodeapi import AssignmentView, ReadAssignment


class HeldDesk:
    """assignment."""

    def __init__(
        self,
        node: str,
        boot: str,
        labels: Mapping[str, str],
        membership: Membership,
        assignments: Assignments,
        observer: Observer,
        uptimes: Uptimes,
        networks: Callable[[], View],
    ) -> None:
        self._node = node
        self._boot = boot
        self._labels = dict(labels)
        self._membership = membership
        self._assignments = assignments
        self._observer = observer
        self._uptimes = uptimes
        self._networks = networks

    async def read(self, request: ReadAssignment) -> AssignmentView:
        """The assignment obeyed now, with the pair that identifies it."""
        if request.observe:
            self._observer.send_again()
        held, networks = self._assignments.held, self._networks()
        sequences = networks.sequences
        return AssignmentView(
            node=self._node,
            instance=self._membership.identity.instance,
            mesh_id=self._membership.identity.mesh_id,
            boot=self._boot,
            applied=self._assignments.applied,
            assignment=held.assignment if held else None,
            labels=self._labels,
            allocations=dict(networks.allocations),
            allotted={name: sequences.get(subjects.allocation_key(name), 0) for name in networks.allocations},
            publish=networks.publish,
            published=sequences.get(subjects.PUBLISH, 0),
            networks_known=networks.highest,
            up=self._uptimes.told(),
        )
