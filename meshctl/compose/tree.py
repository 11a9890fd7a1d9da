"""A YAML document as a tree of values that know where they stand.

Immutable, so that shared (aliased) parts can be shared. A scalar keeps the text as it was typed: `VERSION: 1.10` in
an environment means "1.10", not the float 1.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

RESET = "!reset"
OVERRIDE = "!override"
BROKEN = "!broken"
"""The tag of a value about which a problem is told already: what follows from it is not told."""

Plain: TypeAlias = "bool | int | float | str | None"


@dataclass(frozen=True, slots=True)
class Where:
    """A place in a file; lines count from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value, and how it was typed."""

    where: Where
    value: Plain
    text: str
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys to nodes in the order of the file, and where each key stands."""

    where: Where
    items: dict[str, Node]
    keys: dict[str, Where]
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list of nodes."""

    where: Where
    items: tuple[Node, ...]
    tag: str = ""


Node: TypeAlias = "Scalar | Mapping | Sequence"


def is_null(node: Node | None) -> bool:
    """Whether the node is missing or an explicit null."""
    return node is None or (isinstance(node, Scalar) and node.value is None)


def is_extension(key: str) -> bool:
    """Whether a key is Compose's `x-`: anybody's but ours, and ignored."""
    return key.startswith("x-") and key != "x-mesh"


def kind_of(node: Node) -> str:
    """What the node is, in words for an error."""
    if isinstance(node, Mapping):
        return "a mapping"
    if isinstance(node, Sequence):
        return "a list"
    words = {bool: "a truth value", int: "a number", float: "a number", str: "text"}
    return "nothing" if node.value is None else words[type(node.value)]
