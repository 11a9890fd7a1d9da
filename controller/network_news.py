"""What there is of the records that agents follow for their networks: the last entry about each, and what stands."""

from __future__ import annotations

from schemas import subjects
from schemas.liveness import digest_of

FOLLOWED = ("alloc.", "endpoints.")


class NetworkNews:
    """By network; "" are published ports."""

    def __init__(self) -> None:
        self.at = 0
        """The sequence of the last entry about any."""
        self.last: dict[str, tuple[int, str]] = {}
        """The sequence of the last entry about it, and its key; "": which is not known."""
        self._standing: dict[str, dict[str, int]] = {}
        """Network -> key -> the sequence of the record that stands there."""
        self._digests: dict[str, int] = {}

    def note(self, key: str, sequence: int, known: str = "") -> None:
        """An entry at that key has come; `known`: the key, if it was heard and not only missed."""
        if key.startswith(FOLLOWED):
            network = subjects.network_of(key)
            self.last[network] = max(self.last.get(network, (0, "")), (sequence, known))
            self.at = max(self.at, sequence)

    def stand(self, key: str, sequence: int) -> None:
        """The record of that sequence stands there now; 0: none."""
        if not key.startswith(FOLLOWED):
            return
        network = subjects.network_of(key)
        standing = self._standing.setdefault(network, {})
        before = standing.pop(key, 0)
        if sequence:
            standing[key] = sequence
        changed = digest_of((sequence,)) - digest_of((before,))
        self._digests[network] = digest_of((), self._digests.get(network, 0) + changed)

    def digest(self, networks: frozenset[str]) -> int:
        """Of all that stands of these networks: see `schemas.liveness.digest_of`."""
        return digest_of((), sum(self._digests.get(network, 0) for network in networks))
