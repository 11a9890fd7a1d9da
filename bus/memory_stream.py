"""The server's side of a store, in memory: one total order, compare-and-set, fence, tombstones. No time, no loop.

`MemoryStream` is to `bus.memory` what a JetStream stream is to `bus.nats`. It remembers what it replaced for a while,
so that a stale replica can be shown.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from bus.batches import fence_first
from bus.commits import Committed, Conflicted, Delete, Fence, Fenced, Outcome, Put, Write
from bus.port import Entry, Snapshot
from schemas.subjects import EPOCH

REMEMBERED = 1000
"""How many replaced entries are kept to show a stale replica."""


@dataclass(frozen=True)
class Replaced:
    """What stood at a key before the write with this sequence."""

    sequence: int
    key: str
    before: Entry | None
    first: int
    """The first sequence of the batch that the write belongs to."""


@dataclass
class MemoryStream:
    """Entries by key; the last sequence."""

    last: int = 0
    first: int = 1
    created: str = "1"
    entries: dict[str, Entry] = field(default_factory=dict)
    replaced: deque[Replaced] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def commit(self, batch: Sequence[Write], fence: Fence | None, at: float) -> tuple[Outcome, tuple[Entry, ...]]:
        """Store all or nothing; with the entries that were made."""
        if fence is not None and self._sequence(EPOCH) != fence.epoch:
            return Fenced(), ()
        for write in batch:
            if write.expected is not None and self._sequence(write.key) != write.expected:
                why = f"{write.key} is at {self._sequence(write.key)}, not at {write.expected}"
                return Conflicted(why), ()
        ordered = batch if fence is None else fence_first(batch)
        first = self.last + 1
        made = tuple(self._store(write, first, at) for write in ordered)
        return Committed(sequence=made[-1].sequence, first=made[0].sequence), made

    def get(self, key: str, lag: int = 0) -> Entry | None:
        """The last entry, as a replica has it that is `lag` writes behind."""
        return self._as_of(lag).get(key) if lag else self.entries.get(key)

    def snapshot(self, lag: int = 0) -> Snapshot:
        """All live entries, as a replica has them that is `lag` writes behind (or more: it has whole batches)."""
        behind = self._whole(lag)
        live = (entry for entry in self._as_of(behind).values() if entry.value is not None)
        ordered = tuple(sorted(live, key=lambda entry: entry.sequence))
        return Snapshot(entries=ordered, sequence=self.last - behind)

    def copy(self) -> MemoryStream:
        """The stream as it is now, to go back to."""
        return replace(self, entries=dict(self.entries), replaced=self.replaced.copy())

    def forget_tombstones(self) -> None:
        """What the server does 24 hours after a delete."""
        self.entries = {key: entry for key, entry in self.entries.items() if entry.value is not None}

    def _sequence(self, key: str) -> int:
        entry = self.entries.get(key)
        return 0 if entry is None else entry.sequence

    def _store(self, write: Put | Delete, first: int, at: float) -> Entry:
        self.last += 1
        value = write.value if isinstance(write, Put) else None
        entry = Entry(key=write.key, value=value, sequence=self.last, at=at)
        self.replaced.append(Replaced(self.last, write.key, self.entries.get(write.key), first))
        self.entries[write.key] = entry
        return entry

    def _whole(self, lag: int) -> int:
        """How many of the last writes are not there if `lag` are not: no snapshot ends within a batch."""
        lag = min(lag, len(self.replaced))
        return min(self.last + 1 - self.replaced[-lag].first, len(self.replaced)) if lag else 0

    def _as_of(self, lag: int) -> dict[str, Entry]:
        entries = dict(self.entries)
        for step in list(reversed(self.replaced))[:lag]:
            if step.before is None:
                entries.pop(step.key, None)
            else:
                entries[step.key] = step.before
        return entries
