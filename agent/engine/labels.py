"""Whose a container is: the labels that the mesh puts on what it makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LABEL_MESH = "mesh.id"
LABEL_NODE = "mesh.node"
LABEL_TASK = "mesh.task"
LABEL_SERVICE = "mesh.service"
LABEL_SLOT = "mesh.slot"
LABEL_REVISION = "mesh.revision"
LABEL_SPEC = "mesh.spec"
LABEL_STACK = "mesh.stack"
LABEL_STOP_AFTER = "mesh.stop_after"
"""Only where it must not run twice: for how many seconds it may run without the leader (`agent.leases`)."""
LABEL_NETWORK = "mesh.network"
LABEL_INIT = "mesh.init"
"""On a container that runs before a task's own: the task's id."""


@dataclass(frozen=True)
class Owner:
    """Whose containers: several agents may share one engine."""

    mesh: str
    node: str

    @property
    def labels(self) -> dict[str, str]:
        """The labels that all of its containers carry."""
        return {LABEL_MESH: self.mesh, LABEL_NODE: self.node}

    def owns(self, labels: Mapping[str, str]) -> bool:
        """Whether a thing with these labels is this owner's."""
        return all(labels.get(key) == value for key, value in self.labels.items())


def owner_of(labels: Mapping[str, str]) -> Owner:
    """Whose a thing with these labels is; empty names where they are missing."""
    return Owner(labels.get(LABEL_MESH, ""), labels.get(LABEL_NODE, ""))
