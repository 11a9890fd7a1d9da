"""The order in which nodes are tried: even over the preference tree, then fewest tasks of the service, fewest tasks.

A tree of labels with a heap of nodes in each leaf. Within a round keys only grow, so a stale entry is simply
put back with its present key, and a node that can't take a task of a group never can again.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TypeAlias

Branch: TypeAlias = tuple[str, ...]
Key: TypeAlias = tuple[int, int, str]
"""Tasks of the service, tasks in all, name."""


class Spread:
    """Nodes in the order in which they should get the next task of one service."""

    def __init__(
        self,
        nodes: Iterable[str],
        branch_of: Callable[[str], Branch],
        key_of: Callable[[str], Key],
        load: Counter[Branch],
    ) -> None:
        self._branch_of = branch_of
        self._key_of = key_of
        self._load = load
        """Tasks of the service below each branch, the root's included."""
        self._leaves: dict[Branch, list[Key]] = {}
        for node in nodes:
            self._leaves.setdefault(branch_of(node), []).append(key_of(node))
        self._below: dict[Branch, set[str]] = {}
        for leaf, heap in self._leaves.items():
            heapq.heapify(heap)
            for depth, value in enumerate(leaf):
                self._below.setdefault(leaf[:depth], set()).add(value)

    def best(self) -> str | None:
        """The node to try next; None: none is left."""
        while self._leaves:
            leaf = self._lightest_leaf()
            heap = self._leaves[leaf]
            key = self._key_of(heap[0][2])
            if key == heap[0]:
                return key[2]
            heapq.heapreplace(heap, key)
        return None

    def discard(self, node: str) -> None:
        """The node that `best` named can't take another one."""
        leaf = self._branch_of(node)
        heapq.heappop(self._leaves[leaf])
        if self._leaves[leaf]:
            return
        del self._leaves[leaf]
        for depth in range(len(leaf), 0, -1):
            self._below[leaf[: depth - 1]].discard(leaf[depth - 1])
            if self._below[leaf[: depth - 1]]:
                return

    def finish(self) -> None:
        """The group is done."""

    def _lightest_leaf(self) -> Branch:
        branch: Branch = ()
        while below := self._below.get(branch):
            branch = min(((*branch, value) for value in below), key=lambda child: (self._load[child], child))
        return branch


def count_branches(load: Counter[Branch], branch: Branch, tasks: int) -> None:
    """Add the tasks to every branch above a leaf."""
    for depth in range(len(branch) + 1):
        load[branch[:depth]] += tasks


class Shelf:
    """Nodes by tasks in all, shared by the groups of a round that may use the same nodes."""

    def __init__(self, nodes: Iterable[str], tasks_on: Callable[[str], int]) -> None:
        self._tasks_on = tasks_on
        self._heap = [(tasks_on(node), node) for node in nodes]
        heapq.heapify(self._heap)

    def lightest(self) -> str | None:
        """The node with fewest tasks; None: all are taken."""
        while self._heap:
            tasks, node = self._heap[0]
            if tasks == (now := self._tasks_on(node)):
                return node
            heapq.heapreplace(self._heap, (now, node))
        return None

    def take(self) -> None:
        """Take the lightest off the shelf."""
        heapq.heappop(self._heap)

    def give_back(self, nodes: Iterable[str]) -> None:
        """Put nodes back."""
        for node in nodes:
            heapq.heappush(self._heap, (self._tasks_on(node), node))


class Even:
    """The order of `Spread` for a service without preferences: a small service looks at few nodes."""

    def __init__(self, shelf: Shelf, key_of: Callable[[str], Key], excluded: frozenset[str]) -> None:
        self._shelf = shelf
        self._key_of = key_of
        self._excluded = excluded
        self._aside: list[str] = []
        self._busy: list[Key] = []
        """Nodes that have tasks of the service."""
        self._from_shelf = False

    def best(self) -> str | None:
        """The node to try next; None: none is left."""
        while (node := self._shelf.lightest()) is not None:
            key = self._key_of(node)
            if not key[0] and node not in self._excluded:
                self._from_shelf = True
                return node
            self._put_aside(node)
            if node not in self._excluded:
                heapq.heappush(self._busy, key)
        self._from_shelf = False
        while self._busy:
            key = self._key_of(self._busy[0][2])
            if key == self._busy[0]:
                return key[2]
            heapq.heapreplace(self._busy, key)
        return None

    def discard(self, node: str) -> None:
        """The node that `best` named can't take another one."""
        if self._from_shelf:
            self._put_aside(node)
        else:
            heapq.heappop(self._busy)

    def finish(self) -> None:
        """The group is done: other groups may have these nodes."""
        self._shelf.give_back(self._aside)
        self._aside = []

    def _put_aside(self, node: str) -> None:
        self._shelf.take()
        self._aside.append(node)
