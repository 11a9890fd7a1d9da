"""How far a store goes, as its stream's leader tells. Pure.

One that goes less far than was told before was rolled back, also where a mirror has seen nothing of what was lost; or a
server tells that led the stream, stalled and woke up. A stream that was made anew is another one.
"""

from __future__ import annotations


class Extent:
    """Of one store."""

    def __init__(self) -> None:
        self.furthest = 0
        """The highest sequence that this stream was told to have."""
        self.went_back = False
        """It was told to end lower since, and not to go that far again."""
        self.last = 0
        """Where it was told to end last."""
        self._created = ""

    @property
    def shrunk(self) -> str:
        """Why the store is an older one, or seems to be; "": it does not."""
        told = f"this controller was told of {self.furthest}, the store ends at {self.last}"
        return told if self.went_back else ""

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
