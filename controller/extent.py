"""How far a store goes, as its stream's leader has said. Pure.

One that goes less far than it was said to before was rolled back, also where a mirror has seen nothing of what was
lost; or a server tells that led the stream, stalled and woke up. A stream that was made anew is another one.
"""

from __future__ import annotations


class Extent:
    """Of one store."""

    def __init__(self) -> None:
        self.furthest = 0
        """The last sequence, at most."""
        self._created = ""
        self._last = 0

    @property
    def went_back(self) -> bool:
        """Whether it was said to go further before."""
        return self._last < self.furthest

    def told(self, created: str, last: int) -> None:
        """The stream that was created then ends there."""
        if created != self._created:
            self._created, self.furthest = created, 0
        self._last, self.furthest = last, max(self.furthest, last)
