"""Group commit: one coroutine writes to a store, many submit. What waits while a batch is on its way goes together.

On three replicas one write may be in flight per checked subject, so writers that do not go through one coroutine
mostly find the store busy. A submission is stored whole or not at all, unless it is over the limits of a batch: then
it is cut, in its order.

What was sent under a fence and has no known outcome may be stored late, over what is stored next (docs/decisions/0008).
So the fence is renewed before anything else is written: from then on the server refuses what is still on its way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from bus.batches import check_batch, write_bytes
from bus.commits import (
    BATCH_BYTES,
    BATCH_MESSAGES,
    Busy,
    Committed,
    Conflicted,
    Fence,
    Fenced,
    Outcome,
    Put,
    Unknown,
    Write,
)
from bus.port import Store
from schemas.errors import MeshError
from schemas.subjects import EPOCH

log = structlog.get_logger()

BUSY_TRIES = 50
BUSY_WAIT = (0.005, 0.1)
"""Least and most seconds between two tries while the store is busy; doubled each time."""

SUBMISSIONS = 10_000
"""Submissions that may wait at once: the next one waits for room."""


@dataclass(eq=False)
class Submission:
    """What somebody waits for."""

    writes: tuple[Write, ...]
    outcome: asyncio.Future[Outcome] = field(repr=False)

    @property
    def size(self) -> int:
        """Bytes against the limit."""
        return sum(map(write_bytes, self.writes))

    def answer(self, outcome: Outcome) -> None:
        """Tell the submitter, if it still waits."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)


class Writer:
    """The one coroutine is `run`; its owner keeps it in a task group. `fence` None: unfenced writes.

    `renewal`: the epoch's record as it is written when the fence is renewed; nobody else may write the same bytes.
    b"": the fence stays as it is, whatever happens.
    """

    def __init__(self, store: Store, fence: Fence | None = None, renewal: bytes = b"") -> None:
        self._store = store
        self._fence = fence
        self._renewal = renewal
        self._doubtful = False
        """Whether something that was sent under this fence may be stored later."""
        self._waiting: deque[Submission] = deque()
        self._filled = asyncio.Event()
        self._room = asyncio.Semaphore(SUBMISSIONS)
        self._fenced = False

    async def submit(self, writes: Sequence[Write]) -> Outcome:
        """Store `writes`; `Committed.sequence` is at or after that of the last of them.

        Raises:
            ValueError: no writes, a key twice, one write over the limits.
            Refused: the store does not take such a write.
        """
        outcome: Outcome = Unknown("nothing was written")
        for part in split(writes):
            async with self._room:
                outcome = await self._submit(part)
            if not isinstance(outcome, Committed):
                break
        return outcome

    async def run(self) -> None:
        """Write for ever."""
        try:
            while True:
                while not self._waiting:
                    self._filled.clear()
                    await self._filled.wait()
                await self._write(self._gather())
        finally:
            for submission in self._waiting:
                submission.answer(Unknown("the writer has stopped"))
            self._waiting.clear()

    async def _submit(self, writes: tuple[Write, ...]) -> Outcome:
        if self._fenced:
            return Fenced()
        submission = Submission(writes, asyncio.get_running_loop().create_future())
        self._waiting.append(submission)
        self._filled.set()
        return await submission.outcome

    def _gather(self) -> list[Submission]:
        """As many as go into one batch, in order; no key twice."""
        group: list[Submission] = []
        keys: set[str] = set()
        size = 0
        while self._waiting:
            first = self._waiting[0]
            fits = len(keys) + len(first.writes) <= BATCH_MESSAGES and size + first.size <= BATCH_BYTES
            fresh = keys.isdisjoint(write.key for write in first.writes)
            if group and not (fits and fresh):
                break
            self._waiting.popleft()
            if first.outcome.cancelled():
                continue
            group.append(first)
            keys.update(write.key for write in first.writes)
            size += first.size
        return group

    async def _write(self, group: list[Submission]) -> None:
        """Store a group; one that fails by one of its members is stored member by member."""
        if not group:
            return
        try:
            outcome = await self._commit(tuple(write for each in group for write in each.writes))
        except asyncio.CancelledError:
            for each in group:
                each.answer(Unknown("the writer has stopped"))
            raise
        except Exception as error:
            await self._apart(group, error)
            return
        if isinstance(outcome, Conflicted) and len(group) > 1:
            await self._apart(group, None)
            return
        self._fenced = self._fenced or isinstance(outcome, Fenced)
        for each in group:
            each.answer(outcome)

    async def _apart(self, group: list[Submission], error: Exception | None) -> None:
        if len(group) > 1:
            for each in group:
                await self._write([each])
        elif error is not None and not group[0].outcome.done():
            group[0].outcome.set_exception(error)

    async def _commit(self, batch: Sequence[Write]) -> Outcome:
        if self._doubtful and self._fence is not None and self._renewal:
            renewed = await self._renew(self._fence)
            if not isinstance(renewed, Committed):
                return renewed
            log.info("fence.renewed", before=self._fence.epoch, now=renewed.sequence)
            self._fence, self._doubtful = Fence(renewed.sequence), False
        outcome = await self._insist(batch, self._fence)
        self._doubtful = self._doubtful or isinstance(outcome, Unknown)
        return outcome

    async def _renew(self, fence: Fence) -> Outcome:
        """Write the epoch's record anew in place of the one that `fence` names; `Committed.sequence` is the new fence.

        One of unknown outcome is written again before anything else. The comparison lets only one of them be stored,
        and none over anything newer.
        """
        outcome = await self._insist([Put(EPOCH, self._renewal, expected=fence.epoch)], None)
        if not isinstance(outcome, Conflicted):
            return outcome
        try:
            entry = await self._store.read(EPOCH)
        except MeshError as error:
            return Unknown(error.message)
        if entry is not None and entry.sequence == fence.epoch:
            return Unknown(outcome.why)
        if entry is not None and entry.sequence > fence.epoch and entry.value == self._renewal:
            return Committed(sequence=entry.sequence, first=entry.sequence)
        return Fenced()

    async def _insist(self, batch: Sequence[Write], fence: Fence | None) -> Outcome:
        """Commit, again while the store is busy."""
        wait = BUSY_WAIT[0]
        outcome: Outcome = Busy()
        for _ in range(BUSY_TRIES):
            outcome = await self._store.commit(batch, fence)
            if not isinstance(outcome, Busy):
                break
            await asyncio.sleep(wait)
            wait = min(wait * 2, BUSY_WAIT[1])
        return outcome


def split(writes: Sequence[Write]) -> list[tuple[Write, ...]]:
    """Cut into the fewest batches within the limits, in order. Raises ValueError as `check_batch` does."""
    parts: list[list[Write]] = []
    size = 0
    for write in writes:
        weight = write_bytes(write)
        if not parts or len(parts[-1]) == BATCH_MESSAGES or size + weight > BATCH_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(write)
        size += weight
    for part in parts:
        check_batch(part)
    return [tuple(part) for part in parts]
