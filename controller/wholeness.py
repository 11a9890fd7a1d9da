"""Whether a mirror shows all that its store is known to hold. Pure: told what happens, it says since when it does not.

It is not whole from the moment at which something is found to be missing, or the store does not say how far it goes.
It is whole again once it shows all that the stream's leader had when it was asked *after* the last such moment: a
snapshot may come from a replica that is behind, and ends the doubt only if it reaches that far.
"""

from __future__ import annotations


class Wholeness:
    """Of one mirror of one store."""

    def __init__(self) -> None:
        self.behind_since: float | None = None
        """None: nothing is known to be missing."""
        self.doubts = 0
        """How often something was found to be missing: an answer to a question that was asked before is too old."""
        self._owed: int | None = None
        """What the mirror has to show; None: the store has not told yet."""

    def doubt(self, now: float) -> None:
        """Something is missing, or may be."""
        self.doubts += 1
        self._owed = None
        if self.behind_since is None:
            self.behind_since = now

    def told(self, last: int, doubts: int) -> None:
        """The store ends at `last`. `doubts`: how many there were as it was asked."""
        if self.behind_since is not None and doubts == self.doubts:
            self._owed = last

    def shows(self, sequence: int) -> bool:
        """The mirror is complete up to there; whether it is whole by that, and was not before."""
        if self._owed is None or sequence < self._owed:
            return False
        self.behind_since = self._owed = None
        return True
