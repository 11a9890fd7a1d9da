"""The ground that all groups of a round are placed on: rooms, volumes, and which nodes a kind of spec may go to at all.

What a round can't change is found once for all services that ask for the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from controller.draft import Draft
from controller.ledger import Ledger
from controller.nodes import NodeView
from controller.placement_filters import fit_miss, steady_miss
from controller.reasons import Miss
from controller.spread import Shelf
from controller.volumes import VolumeMap
from controller.world import World
from schemas.spec import TaskSpec


class Site:
    """The ground that all groups of a round build on."""

    def __init__(self, world: World, draft: Draft, nodes: Mapping[str, NodeView]) -> None:
        self.nodes = nodes
        self.ledger = Ledger(draft, nodes)
        self.limit = world.tasks_per_node
        self._volumes: VolumeMap | None = None
        self._world = world
        self._draft = draft
        self._eligible: dict[object, tuple[tuple[str, ...], Counter[Miss]]] = {}
        self._shelves: dict[object, Shelf] = {}
        self._in_question: dict[object, tuple[str, ...]] = {}
        self._expected = tuple(name for name, view in nodes.items() if view.expected)

    @property
    def volumes(self) -> VolumeMap:
        """Read when the first spec with a named volume asks."""
        if self._volumes is None:
            self._volumes = VolumeMap(self._world, self._draft, self.nodes)
        return self._volumes

    def eligible(self, spec: TaskSpec) -> tuple[tuple[str, ...], Counter[Miss]]:
        """Nodes that may take the spec as far as this round can't change it, and the others' misses."""
        key = _kind(spec)
        found = self._eligible.get(key)
        if found is None:
            misses: Counter[Miss] = Counter()
            good = []
            for name, view in self.nodes.items():
                miss = steady_miss(spec, view)
                if miss is None:
                    good.append(name)
                elif view.record is None or not view.record.removed:
                    misses[miss] += 1
            found = self._eligible[key] = (tuple(good), misses)
        return found

    def in_question(self, spec: TaskSpec) -> tuple[str, ...]:
        """The eligible nodes, and those that will be as soon as they are heard."""
        nodes, _ = self.eligible(spec)
        if not self._expected:
            return nodes
        key = _kind(spec)
        found = self._in_question.get(key)
        if found is None:
            soon = (name for name in self._expected if fit_miss(spec, self.nodes[name]) is None)
            found = self._in_question[key] = tuple(sorted((*nodes, *soon)))
        return found

    def shelf(self, spec: TaskSpec) -> Shelf:
        """The nodes in question in the order that groups without preferences share."""
        key = _kind(spec)
        found = self._shelves.get(key)
        if found is None:
            nodes = self.in_question(spec)
            found = self._shelves[key] = Shelf(nodes, lambda node: self.ledger.room(node).tasks)
        return found


def _kind(spec: TaskSpec) -> object:
    """What of the spec says which nodes it may go to, as far as a round can't change it."""
    return (spec.placement.constraints, spec.container.platform, bool(spec.container.networks))
