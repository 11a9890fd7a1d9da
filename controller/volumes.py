"""Where named volumes are: a slot goes where its data is, and never gets a new empty volume in silence.

A volume counts as being on a node if the node's last observation shows it, if a task assigned there names it, or if
the slot's last task ran there and the node can't be asked. External volumes are somebody else's: a node must have them.
Names that depend on the node exist on each node by itself; names that depend on the task are always new.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from controller.draft import Draft
from controller.nodes import NodeView
from controller.world import World
from schemas.placeholders import expand
from schemas.spec import Mount, ServiceSpec, TaskSpec


@dataclass(frozen=True, slots=True)
class Slot:
    """Whose volumes are asked for. `last`: (node, revision) of its tasks, the latest first."""

    service: ServiceSpec
    name: str
    last: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Pin:
    """A volume that ties a slot to some nodes."""

    volume: str
    nodes: frozenset[str]


def named_volumes(spec: TaskSpec, *, external: bool) -> tuple[Mount, ...]:
    """The named volumes whose name is not a task's own."""
    return tuple(
        mount
        for mount in spec.container.mounts
        if mount.kind == "volume" and mount.source and mount.external == external and not _per_task(mount.source)
    )


def _per_task(source: str) -> bool:
    return "{{" in source and (".Task.ID" in source or ".Task.Name" in source)


def _per_node(source: str) -> bool:
    return "{{" in source and ".Node." in source


def volume_name(source: str, service: ServiceSpec, slot: str, view: NodeView | None) -> str:
    """The name that the agent will give it."""
    values = {"Service.ID": service.name, "Service.Name": service.name, "Task.Slot": slot}
    values |= {f"Service.Labels.{key}": value for key, value in service.labels.items()}
    if view is not None:
        facts = view.facts
        values |= {
            "Node.ID": view.name,
            "Node.Hostname": facts.hostname or view.name,
            "Node.Platform.OS": facts.os,
            "Node.Platform.Architecture": facts.architecture,
        }
    return expand(source, values)


class VolumeMap:
    """Which node has which volume, in this round."""

    def __init__(self, world: World, draft: Draft, nodes: Mapping[str, NodeView]) -> None:
        self._world = world
        self._nodes = {name: view for name, view in nodes.items() if view.record is None or not view.record.removed}
        self._on: dict[str, set[str]] = defaultdict(set)
        for name, view in self._nodes.items():
            for volume in view.observation.volumes if view.observation is not None else ():
                self._on[volume].add(name)
            self._read_assigned(draft, name)

    def _read_assigned(self, draft: Draft, node: str) -> None:
        for task in draft.tasks(node):
            spec = draft.spec(node, task.spec)
            mounts = named_volumes(spec, external=False) if spec is not None else ()
            if spec is None or not mounts:
                continue
            revision = self._world.revisions.get((task.service, task.revision))
            service = revision.spec if revision is not None else ServiceSpec(name=task.service, task=spec)
            self.settle(mounts, service, task.slot, node)

    def settle(self, mounts: Iterable[Mount], service: ServiceSpec, slot: str, node: str) -> None:
        """A task on the node names these volumes: they will be there."""
        for mount in mounts:
            self._on[volume_name(mount.source, service, slot, self._nodes.get(node))].add(node)

    def where(self, source: str, slot: Slot) -> Pin:
        """The nodes that have the volume; for a name that depends on the node, those that have theirs."""
        if not _per_node(source):
            name = volume_name(source, slot.service, slot.name, None)
            return Pin(name, frozenset(self._on.get(name, ())))
        having = {
            name
            for name, view in self._nodes.items()
            if name in self._on.get(volume_name(source, slot.service, slot.name, view), ())
        }
        return Pin(source, frozenset(having))

    def pins(self, spec: TaskSpec, slot: Slot) -> tuple[Pin, ...]:
        """What ties the slot to nodes, one for each volume that exists somewhere."""
        found = []
        for mount in named_volumes(spec, external=False):
            pin = self.where(mount.source, slot)
            own = [
                node for node, revision in slot.last if node in pin.nodes or self._hides(node, revision, mount, slot)
            ]
            if own:
                found.append(Pin(pin.volume, frozenset(own[:1])))
            elif pin.nodes:
                found.append(pin)
        found += [self.where(mount.source, slot) for mount in named_volumes(spec, external=True)]
        return tuple(found)

    def _hides(self, node: str, revision: int, mount: Mount, slot: Slot) -> bool:
        """Whether the slot's task of `revision` may have made the volume there, and the node can't be asked."""
        view = self._nodes.get(node)
        if view is None or view.settled:
            return False
        record = self._world.revisions.get((slot.service.name, revision))
        return record is None or any(
            other.source == mount.source for other in named_volumes(record.spec.task, external=False)
        )
