"""Heartbeats: requests that only the leader answers. Its answer says how often, and whether this node is behind.

They go out at their period whether earlier ones were answered or not; only what was answered counts as hearing the
leader. The wall clock in them is for people: no decision hangs on it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import msgspec
import structlog

from agent.assignments import Assignments
from agent.engine_health import EngineHealth
from agent.guards import guarded, sleep_unless
from agent.leadership import Leadership
from agent.membership import Membership
from bus.port import Bus
from schemas import subjects
from schemas.clock import Clock
from schemas.errors import BadMessage, MeshError
from schemas.liveness import Heartbeat, HeartbeatAnswer
from schemas.wire import decode, encode

JITTER = 0.1
"""The part of the period by which each pause is longer or shorter."""
OUTSTANDING = 8
"""Heartbeats that wait for an answer at the same time."""

LINE_AFTER = 0.4
"""Most seconds (at most half a period) after which a heartbeat without an answer has the own server asked."""

LINE_LIMIT = 0.4
"""Seconds that it has for that. A node sits elsewhere, and is heard, 1.7 s after its server stalled: down is 2.4."""

log = structlog.get_logger()


class Heartbeats:
    """Tells that this node lives."""

    def __init__(
        self,
        bus: Bus,
        membership: Membership,
        leadership: Leadership,
        assignments: Assignments,
        health: EngineHealth,
        clock: Clock,
        chance: random.Random,
        *,
        compose: Callable[[int], Heartbeat],
    ) -> None:
        self._bus = bus
        self._membership = membership
        self._leadership = leadership
        self._assignments = assignments
        self._health = health
        self._clock = clock
        self._chance = chance
        self._compose = compose
        self._count = 0
        self._answered = 0
        """The last heartbeat that was answered."""
        self._outstanding = 0
        self._was_silent = False
        self.answers: list[Callable[[HeartbeatAnswer], None]] = []
        """Called with each answer of the leader."""

    def at_once(self) -> None:
        """There is something that the leader should hear before the period is over."""
        self._health.changed.set()

    async def run(self) -> None:
        """Beat for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(guarded("heartbeats", lambda: self._keep_beating(group)))

    async def _keep_beating(self, group: asyncio.TaskGroup) -> None:
        while True:
            self._health.changed.clear()
            if self._outstanding < OUTSTANDING:
                group.create_task(self._beat())
                group.create_task(self._mind_the_line(self._count + 1))
            self._tell_silence()
            period = self._leadership.period * self._chance.uniform(1 - JITTER, 1 + JITTER)
            await sleep_unless(self._health.changed, period)

    async def _beat(self) -> None:
        self._outstanding += 1
        try:
            await self.beat(timeout=max(2.0, 3 * self._leadership.period))
        except (MeshError, OSError) as error:
            log.debug("heartbeat.not_answered", error=str(error))
        except Exception:
            log.exception("heartbeat.failed")
        finally:
            self._outstanding -= 1

    async def _mind_the_line(self, count: int) -> None:
        """Whoever leads may be dead, and then all agents wait: so the own server is asked before it is left."""
        await asyncio.sleep(min(LINE_AFTER, self._leadership.period / 2))
        if self._answered < count and await self._bus.check_line(LINE_LIMIT):
            self.at_once()

    async def beat(self, *, timeout: float, leaving: bool = False) -> None:
        """Send one and take in the answer. Raises Unreachable."""
        self._count += 1
        sent_at = self._clock.monotonic()
        record = msgspec.structs.replace(self._compose(self._count), leaving=leaving)
        data = await self._bus.core.request(subjects.heartbeat(record.node), encode(record), timeout=timeout)
        try:
            self._take_in(decode(data, HeartbeatAnswer), sent_at)
        except BadMessage as error:
            log.warning("heartbeat.answer_not_understood", error=str(error))

    def _take_in(self, answer: HeartbeatAnswer, sent_at: float) -> None:
        self._answered = max(self._answered, answer.count)
        if not self._leadership.heard(answer, sent_at):
            return
        for listener in self.answers:
            listener(answer)
        if answer.refused:
            self._membership.refuse(answer.refused)
            return
        if (answer.generation, answer.desired) > self._assignments.applied.pair and answer.desired:
            self._assignments.fetch()

    def _tell_silence(self) -> None:
        silent = self._leadership.silent
        if silent != self._was_silent:
            log.warning("leader.silent" if silent else "leader.answers", epoch=self._leadership.epoch)
        self._was_silent = silent
