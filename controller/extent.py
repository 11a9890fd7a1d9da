"""How far a store goes, as its stream's leader and what was stored have told. Pure.

One that goes less far than was told before was rolled back, also where a mirror has seen nothing of what was lost; or a
server tells that led the stream, stalled and woke up. A write tells them apart: that server can store nothing. A stream
that was made anew is another one.
"""

from __future__ import annotations


class Extent:
    """Of one store."""

    def __init__(self) -> None:
        self.furthest = 0
        """The highest sequence that the present stream was ever told to have."""
        self.went_back = False
        """It was told to end lower since, and not to go that far again."""
        self.last = 0
        """Where it was told to end last."""
        self._created = ""

    def told(self, created: str, last: int, known: int) -> None:
        """The stream that was created then ends at `last`. `known`: `furthest` as that was asked."""
        if created != self._created:
            self._created, self.furthest, self.went_back = created, last, False
        elif last < known:
            self.went_back = True
        elif last >= self.furthest:
            self.went_back = False
        self.last = last
        self.furthest = max(self.furthest, last)

    def stored(self, first: int, last: int, known: int) -> bool:
        """A write of this controller was stored at `first` to `last`; whether the stream must have gone back.

        `known`: `furthest` as it was sent.
        """
        self.furthest = max(self.furthest, last)
        return first <= known
