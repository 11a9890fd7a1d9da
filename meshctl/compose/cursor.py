"""A place in the document together with its path: what readers hold, and how they say no.

Readers never raise: they tell the problem and give the default, so that one run finds all that is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from meshctl.compose.problems import Problems
from meshctl.compose.tree import BROKEN, Mapping, Node, Scalar, Sequence, Where, is_null, kind_of


@dataclass(frozen=True, slots=True)
class At:
    """One node, where its key stands, and the path to it."""

    node: Node
    path: str
    where: Where
    problems: Problems

    def refuse(self, what: str, remedy: str = "") -> None:
        """Tell a problem here, unless one is told already that this follows from."""
        if self.node.tag != BROKEN:
            self.problems.add(self.where, self.path, what, remedy)

    def warn(self, what: str, remedy: str = "") -> None:
        """Tell a warning here."""
        self.problems.warn(self.where, self.path, what, remedy)

    def get(self, key: str) -> At | None:
        """The value of `key`; None if it is missing or null, or if this is no mapping."""
        node = self.node.items.get(key) if isinstance(self.node, Mapping) else None
        return None if is_null(node) else self._at_key(key)

    def dig(self, *keys: str) -> At | None:
        """`get` along a path."""
        here: At | None = self
        for key in keys:
            here = here.get(key) if here else None
        return here

    def entries(self) -> Iterator[tuple[str, At]]:
        """The keys and values, nulls among them; nothing and a problem if this is no mapping."""
        if not isinstance(self.node, Mapping):
            self.refuse(f"{kind_of(self.node)} where a mapping belongs", "write `key: value` lines under it")
            return
        for key in self.node.items:
            yield key, self._at_key(key)

    def elements(self) -> Iterator[At]:
        """The items of a list; nothing and a problem if this is no list."""
        if not isinstance(self.node, Sequence):
            self.refuse(f"{kind_of(self.node)} where a list belongs", "write `- ` before each item")
            return
        for number, node in enumerate(self.node.items):
            yield At(node, f"{self.path}[{number}]", node.where, self.problems)

    def one_or_more(self) -> Iterator[At]:
        """The items of a list, or the single value itself."""
        if isinstance(self.node, Scalar):
            yield self
        else:
            yield from self.elements()

    @property
    def is_mapping(self) -> bool:
        """Whether keys may be asked for."""
        return isinstance(self.node, Mapping)

    @property
    def is_list(self) -> bool:
        """Whether it is a list."""
        return isinstance(self.node, Sequence)

    def _at_key(self, key: str) -> At:
        assert isinstance(self.node, Mapping)
        return At(self.node.items[key], f"{self.path}.{key}" if self.path else key, self.node.keys[key], self.problems)
