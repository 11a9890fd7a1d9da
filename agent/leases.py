"""Tasks that must not run twice: how long this node may keep them without hearing the leader (`schemas.leases`).

A lease is renewed by an answer that grants one and shows that what is obeyed here is the latest. Without one nothing
of the kind is started; once it has run out what runs is stopped. It is kept on disk: a new process of the agent goes on
with it, after a moment in which the leader may answer first. A stop that an earlier one began gets no more time so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import structlog

from agent.files import Files
from agent.leadership import Leadership
from agent.tasks import Standing
from schemas.clock import Clock
from schemas.errors import BadMessage
from schemas.leases import LeaseRecord
from schemas.liveness import HeartbeatAnswer
from schemas.wire import decode, encode

FILE = "lease.json"
LOOK_EVERY = 0.2
SAVE_EVERY = 2.0
FIRST_ANSWER = 3.0
"""Seconds that a new process waits for an answer before it stops what an earlier one has left."""

NEVER = float("-inf")

log = structlog.get_logger()


def standing_of(stop_after: float, silent: float, age: float) -> Standing:
    """`silent`: seconds since the lease was renewed; `age`: since this process began."""
    if not stop_after or silent < stop_after:
        return "free"
    return "held" if age < FIRST_ANSWER else "lapsed"


class Leases:
    """One for all tasks of the node: each asks with its own `stop_after`."""

    def __init__(
        self, files: Files, leadership: Leadership, clock: Clock, boot: str, *, obeyed: Callable[[], tuple[int, int]]
    ) -> None:
        """`obeyed`: (generation, sequence) of the assignment by which the workers go now."""
        self._files = files
        self._leadership = leadership
        self._clock = clock
        self._boot = boot
        self._obeyed = obeyed
        self._began = clock.monotonic()
        self._saved_at = NEVER
        self.renewed_at = NEVER
        """Monotonic time at which the heartbeat was sent that renewed the lease last."""

    async def load(self) -> None:
        """Go on with the lease of an earlier process of the same boot."""
        try:
            data = await self._files.read(FILE)
            record = decode(data, LeaseRecord) if data else None
        except (OSError, BadMessage) as error:
            log.error("lease.not_read", error=str(error))
            return
        if record is not None and record.boot == self._boot and record.at <= self._began:
            self.renewed_at = record.at

    def heard(self, answer: HeartbeatAnswer) -> None:
        """The leader has answered the heartbeat that `Leadership` has just noted."""
        if answer.lease and not answer.refused and self._obeyed() >= (answer.generation, answer.desired):
            self.renewed_at = max(self.renewed_at, self._leadership.sent_at)

    def standing(self, stop_after: float) -> Standing:
        """What may be done now with a task that may run so long without the leader; 0: for ever."""
        now = self._clock.monotonic()
        return standing_of(stop_after, now - self.renewed_at, now - self._began)

    def grace_left(self, stop_after: float, grace: float) -> float:
        """What a stop may take that begins now: the grace counts from the lease's end, whoever began to stop then."""
        if not stop_after:
            return grace
        return min(grace, max(0.0, self.renewed_at + stop_after + grace - self._clock.monotonic()))

    async def run(self, lengths: Callable[[], Iterable[float]], changed: Callable[[], None]) -> None:
        """Look for ever whether the standing of one `stop_after` has changed, and call `changed` then."""
        before: dict[float, Standing] = {}
        while True:
            await asyncio.sleep(LOOK_EVERY)
            after = {length: self.standing(length) for length in lengths() if length}
            if after != before:
                log.info("lease.standing", **{f"after_{key:g}": value for key, value in after.items()})
                before = after
                changed()
            if after:
                await self._save()

    async def _save(self) -> None:
        now = self._clock.monotonic()
        if self.renewed_at == NEVER or now - self._saved_at < SAVE_EVERY:
            return
        self._saved_at = now
        try:
            await self._files.write(FILE, encode(LeaseRecord(boot=self._boot, at=max(0.0, self.renewed_at))))
        except OSError as error:
            log.error("lease.not_saved", error=str(error))
