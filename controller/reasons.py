"""Why something is not (yet) so, in words: "3 nodes: 2 lack memory, 1 drained".

Texts hold nothing that changes from round to round (no seconds, no counters that tick), so that an unchanged
situation writes no record anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from schemas.records import Reason

REASONS_KEPT = 20
"""Distinct reasons that one record holds; the rarest are left out."""


@dataclass(frozen=True, slots=True)
class Miss:
    """Why a node can't take a task: after "1 ", after "2 ", and after "which "."""

    one: str
    many: str
    which: str

    def counted(self, count: int) -> str:
        """ "2 lack memory"."""
        return f"{count} {self.one if count == 1 else self.many}"


def plain(state: str) -> Miss:
    """A miss that reads the same for one and many: "drained"."""
    return Miss(state, state, f"is {state}")


def nodes_text(misses: Mapping[Miss, int]) -> str:
    """All nodes and why none of them fits, the most frequent first."""
    total = sum(misses.values())
    if not total:
        return "the mesh has no node"
    ranked = sorted(misses.items(), key=lambda item: (-item[1], item[0].one))
    return f"{total} node{'s' if total > 1 else ''}: " + ", ".join(miss.counted(count) for miss, count in ranked)


def grouped(texts: Iterable[str]) -> tuple[Reason, ...]:
    """Equal texts counted, the most frequent first."""
    ranked = sorted(Counter(texts).items(), key=lambda item: (-item[1], item[0]))
    return tuple(Reason(text=text, count=count) for text, count in ranked[:REASONS_KEPT])
