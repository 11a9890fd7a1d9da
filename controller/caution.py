"""A leader that knows that it has not seen all that nodes told, or all that was stored, takes nothing down of its own
accord. Pure.

Then its count of what is up may be wrong, and what a policy promises stands on that count. Not begun before it has
caught up: turns of updates and roll-backs, the end of what leaves a node or moves to another, of what is scaled away
beside others that stay. All else goes on: what ended or was lost is replaced, new tasks are started, what a removal or
an operator's force ends is ended.
"""

from __future__ import annotations

from dataclasses import dataclass

from controller.work import Work

BEHIND = "the leader has not got all that nodes and other controllers told, and takes nothing down before it has"

TOLD_AFTER = 1.0
"""Seconds for which that goes without a word: most gaps are closed at once, and a record need not say so."""

RECHECK = 0.5
"""Seconds after which what was held back is looked at again."""


@dataclass(frozen=True, slots=True)
class Caution:
    """Of one round. `since`: stream time since which it has not seen all; None: it has."""

    since: float | None
    now: float

    def holds_back(self, work: Work, slot: str, what: str) -> bool:
        """Whether nothing of the slot may be taken down now. `what`: what becomes of it instead, in words."""
        if self.since is None:
            return False
        work.wake(self.now + RECHECK)
        if self.now >= self.since + TOLD_AFTER:
            work.waits[slot] = f"{what}: {BEHIND}"
        return True
