"""What there is of the records that agents follow for their networks: the last entry about each, and what stands."""

from __future__ import annotations

from collections import deque
from collections.abc import Set

from schemas import subjects
from schemas.liveness import digest_of

FOLLOWED = ("alloc.", "endpoints.")
REMEMBERED = 512
"""Changes of what stands: a node that is further behind is not known to hold what stood then."""


class NetworkNews:
    """By network; "" are published ports."""

    def __init__(self) -> None:
        self.at = 0
        """The sequence of the last entry about any."""
        self.version = 0
        """Rises with each change here."""
        self.last: dict[str, tuple[int, str]] = {}
        """The sequence of the last entry about it, and its key; "": which is not known."""
        self._standing: dict[str, int] = {}
        """Key -> the sequence of the record that stands there."""
        self._digests: dict[str, int] = {}
        self._changes: deque[tuple[int, str, int]] = deque(maxlen=REMEMBERED)
        """Sequence, network, and by how much its digest rose with that."""
        self._known_from = 0
        """The sequence from which on all changes are remembered."""

    def note(self, key: str, sequence: int, known: str = "") -> None:
        """An entry at that key has come; `known`: the key, if it was heard and not only missed."""
        if key.startswith(FOLLOWED):
            network = subjects.network_of(key)
            self.last[network] = max(self.last.get(network, (0, "")), (sequence, known))
            self.at = max(self.at, sequence)
            self.version += 1

    def stand(self, key: str, sequence: int, *, since: int) -> None:
        """The record of that sequence stands there; 0: none. So it is `since` that sequence of the store."""
        if not key.startswith(FOLLOWED):
            return
        self.version += 1
        network = subjects.network_of(key)
        before = self._standing.pop(key, 0)
        if sequence:
            self._standing[key] = sequence
        rise = digest_of((sequence,)) - digest_of((before,))
        self._digests[network] = digest_of((), self._digests.get(network, 0) + rise)
        if self._changes and since < self._changes[-1][0]:
            self.forget()
        if len(self._changes) == REMEMBERED:
            self._known_from = self._changes[0][0]
        self._changes.append((since, network, rise))

    def forget(self) -> None:
        """How it came to what stands now is not known: it was not heard."""
        self._changes.clear()
        self._known_from = self.at

    def digest(self, networks: Set[str]) -> int:
        """Of all that stands of these networks: see `schemas.liveness.digest_of`."""
        return digest_of((), sum(self._digests.get(network, 0) for network in networks))

    def rise(self, level: int, *networks: Set[str]) -> int | None:
        """By how much the digest of these networks together has risen since that sequence; None: it is not known."""
        if level < self._known_from:
            return None
        found = 0
        for sequence, network, rise in reversed(self._changes):
            if sequence <= level:
                break
            if any(network in each for each in networks):
                found += rise
        return found
