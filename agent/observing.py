"""Tells the mesh what runs here: one record, written anew when something has changed.

In the long run one goes out in the leader's `observe_every`, after a quiet time a few at once (`agent.allowance`): a
task that starts has three changes to tell, and the last is that others may send to it. What is not stored is tried
again. The counter rises over restarts, too: a block of numbers is reserved on disk before they are used.
"""

from __future__ import annotations

import asyncio
import random
import traceback
from collections.abc import Callable

import msgspec
import structlog

from agent.allowance import Allowance
from agent.files import Files
from agent.leadership import Leadership
from agent.ledger import Ledger
from agent.membership import Membership
from bus.commits import Committed, Put
from bus.port import Store
from schemas.assignment import ASSIGNMENT_LIMIT
from schemas.clock import Clock
from schemas.errors import BadMessage, MeshError
from schemas.liveness import HeartbeatAnswer
from schemas.observation import Observation, ObservedTask
from schemas.wire import Count, Wire, decode, encode

FILE = "counter.json"
BLOCK = 1000
"""Counters reserved at once."""
RETRY = (0.2, 1.0)
UNTOLD_AFTER = 15.0
"""Seconds without success after which it is trouble: a store whose server died is back before (4 to 9 s)."""

log = structlog.get_logger()


class Reserved(Wire, frozen=True, kw_only=True):
    """The content of the file: no counter from `below` on was used yet."""

    below: Count = 0


class Observer:
    """Writes this node's observation."""

    def __init__(
        self,
        store: Store,
        files: Files,
        ledger: Ledger,
        membership: Membership,
        leadership: Leadership,
        clock: Clock,
        chance: random.Random,
        *,
        compose: Callable[[int], Observation],
    ) -> None:
        self._store = store
        self._files = files
        self._ledger = ledger
        self._membership = membership
        self._leadership = leadership
        self._clock = clock
        self._chance = chance
        self._compose = compose
        self._allowance = Allowance()
        self._counter = 0
        self._reserved = 0
        self._last: Observation | None = None
        self._changed = asyncio.Event()
        self._failing_since: float | None = None
        self._failure = ""
        self._doubted = 0
        """Of `stored`: what the leader did not see when it was told last."""
        self.stored = 0
        """The counter of the last observation that is stored."""
        self.stored_listeners: list[Callable[[], None]] = []
        ledger.listeners.append(self.mark)

    @property
    def trouble(self) -> str:
        """Why nothing could be stored for long; "" while all is well."""
        since = self._failing_since
        return self._failure if since is not None and self._clock.monotonic() - since >= UNTOLD_AFTER else ""

    def mark(self) -> None:
        """There may be news."""
        self._changed.set()

    def send_again(self) -> None:
        """Write it even if nothing has changed: what was stored may be lost, or somebody else's."""
        self._last = None
        self._changed.set()

    def heard(self, answer: HeartbeatAnswer) -> None:
        """The leader tells what the store holds. What is older twice was stored late, over what came after it."""
        behind = 0 < answer.observed < self.stored
        if behind and self._doubted == self.stored:
            log.warning("observation.overwritten", stored=self.stored, held=answer.observed)
            self.send_again()
        self._doubted = self.stored if behind else 0

    async def load(self) -> None:
        """Go on above the highest counter that an earlier process may have used."""
        try:
            data = await self._files.read(FILE)
            self._counter = self._reserved = decode(data, Reserved).below if data else 0
        except (OSError, BadMessage) as error:
            # The seconds since 1970 are above all that was ever counted.
            self._counter = self._reserved = int(self._clock.wall())
            log.error("counter.not_read", error=str(error), goes_on_at=self._counter)

    async def run(self) -> None:
        """Write for ever."""
        while True:
            await self._changed.wait()
            if not self._membership.confirmed:
                await asyncio.sleep(RETRY[0])
                continue
            self._changed.clear()
            if await self._attempt():
                await asyncio.sleep(self._allowance.take(self._clock.monotonic(), self._leadership.observe_every))
            else:
                self._changed.set()
                await asyncio.sleep(self._chance.uniform(*RETRY))

    async def _attempt(self) -> bool:
        """One try; keeps in mind since when and why they fail."""
        try:
            stored = await self.write()
        except Exception as error:
            log.error("observation.failed", traceback=traceback.format_exc())
            stored, self._failure = False, f"{type(error).__name__}: {error}"[:200]
        if stored:
            self._failing_since = None
        elif self._failing_since is None:
            self._failing_since = self._clock.monotonic()
        return stored

    async def write(self) -> bool:
        """Write how it is now, unless that is known; whether it is stored."""
        record = self._compose(self._counter + 1)
        if self._last is not None and _same(record, self._last):
            self._note_stored(record)
            return True
        record = msgspec.structs.replace(record, counter=await self._next_counter())
        try:
            outcome = await self._store.commit([Put(record.node, fitted(record))])
        except MeshError as error:
            return self._not_stored(str(error))
        if not isinstance(outcome, Committed):
            return self._not_stored(str(outcome))
        self.stored, self._last = record.counter, record
        self._note_stored(record)
        return True

    def _not_stored(self, why: str) -> bool:
        self._failure = why
        self._last = None  # it may be stored yet: whatever is so by then has to be told after it
        log.info("observation.not_stored", error=why)
        return False

    def _note_stored(self, record: Observation) -> None:
        """Ends that this observation told, or that it left out because nobody asks for them, are known now."""
        told = {task.id: task for task in record.tasks}
        for task in list(self._ledger.tasks.values()):
            seen = told.get(task.id)
            if task.ended and not task.end_stored and (seen is None or seen.ended) and task.since <= record.at:
                self._ledger.put(msgspec.structs.replace(task, end_stored=True))
        for listener in self.stored_listeners:
            listener()

    async def _next_counter(self) -> int:
        if self._counter >= self._reserved:
            self._reserved = self._counter + BLOCK
            try:
                await self._files.write(FILE, encode(Reserved(below=self._reserved)))
            except OSError as error:
                log.error("counter.not_saved", error=str(error))
        self._counter += 1
        return self._counter


def _same(one: Observation, other: Observation) -> bool:
    """Whether they tell the same."""
    return msgspec.structs.replace(one, counter=0, at=0.0) == msgspec.structs.replace(other, counter=0, at=0.0)


def fitted(record: Observation) -> bytes:
    """The record's bytes within the limit: log tails are shortened, then left out, should they be too much."""
    data = encode(record)
    for lines in (3, 1, 0):
        if len(data) <= ASSIGNMENT_LIMIT:
            break
        record = msgspec.structs.replace(record, tasks=tuple(_shortened(task, lines) for task in record.tasks))
        data = encode(record)
    return data


def _shortened(task: ObservedTask, lines: int) -> ObservedTask:
    tail = task.log_tail[-lines:] if lines else ()
    return msgspec.structs.replace(task, log_tail=tail, error=task.error[:256])
