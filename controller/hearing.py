"""Who is heard: heartbeats of nodes, presence of controllers, disconnects, and the own voice coming back.

Every controller hears all heartbeats; only the leader answers. Times are this process's monotonic seconds and become
stream time when a world is built. A silence counts only while the leader hears its own "I lead" come back: whoever
can't hear itself can't tell who else is silent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog

from bus.port import CLOSED, Bus, Message
from controller.intake import tidy_heartbeat
from controller.levels import Levels
from controller.mirror import Mirror
from controller.passing import passes_on
from controller.pending import Pending
from controller.streamtime import StreamTime
from controller.suspicion import Suspicion
from controller.world import Dirty, Heard
from schemas import subjects
from schemas.clock import Clock
from schemas.errors import BadMessage, MeshError
from schemas.leases import CONFIRMED_FOR
from schemas.liveness import (
    CONTROLLER_PERIOD,
    HEARTBEAT_PERIOD,
    HEARTBEATS_MISSED,
    NOT_KNOWN,
    ControllerBeat,
    Heartbeat,
    HeartbeatAnswer,
    heartbeat_period,
    observation_period,
)
from schemas.wire import decode, encode

log = structlog.get_logger()

DEAF_AFTER = 1.0
"""Seconds without the own "I lead" after which the leader counts as deaf (five beats)."""

GONE_AFTER = 3 * CONTROLLER_PERIOD
"""Seconds of silence after which a controller is no longer listed."""

MISSED_AFTER = 1.25
"""Periods after which a beat comes late: the node was passed over meanwhile, and is to be looked at again."""

ANSWERS_WITHIN = 2 * HEARTBEAT_PERIOD

AGENT_USER = "agent-"


@dataclass(frozen=True)
class _Beat:
    heartbeat: Heartbeat
    at: float
    suspect_at: float | None = None
    closed: bool = False


class Hearing:
    """What this controller has heard. `epoch` is set while it leads, and then heartbeats are answered."""

    def __init__(self, bus: Bus, mirror: Mirror, clock: Clock, time: StreamTime, own: str = "") -> None:
        self.epoch = 0
        self.pending = Pending(clock)
        self.on_controller: Callable[[ControllerBeat], None] = lambda _: None
        """Called with each controller's beat, the own ones, too."""
        self._bus = bus
        self._mirror = mirror
        self._clock = clock
        self._time = time
        self._beats: dict[str, _Beat] = {}
        self._controllers: dict[str, tuple[float, ControllerBeat]] = {}
        self._own_at = 0.0
        self._confirmed_at = float("-inf")
        self._hearing_since = 0.0
        self.suspicion = Suspicion(bus, mirror, own)
        self._levels = Levels(lambda: mirror.records)

    async def run(self) -> None:
        """Listen for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._hear_nodes(), name="heartbeats")
            group.create_task(self._hear_controllers(), name="controllers")
            group.create_task(self._hear_cuts(), name="node cuts")
            group.create_task(self.suspicion.run(), name="suspicion")

    # what was heard

    def begin(self, epoch: int) -> None:
        """This controller leads from now on: liveness clocks start anew."""
        self.epoch = epoch
        self.pending.asked(answered=True)
        self._confirmed_at = float("-inf")
        self._own_at = self._hearing_since = self._clock.monotonic()

    def end(self) -> None:
        """It leads no longer."""
        self.epoch = 0

    def own_beat(self) -> None:
        """The own "I lead" has come back."""
        now = self._clock.monotonic()
        if self.epoch and now - self._own_at > DEAF_AFTER:
            log.warning("hearing.recovered", deaf_seconds=round(now - self._own_at, 1))
            self._hearing_since = now
            self._mirror.mark(Dirty(everything=True))
        self._own_at = now

    def hearing_since(self) -> float:
        """Stream time since which the own voice was heard without a break; now, while it is not."""
        now = self._clock.monotonic()
        return self._time.of(now if now - self._own_at > DEAF_AFTER else self._hearing_since)

    def heard(self) -> dict[str, Heard]:
        """What is known of each node that was ever heard."""
        return {node: self._heard(beat) for node, beat in self._beats.items()}

    def applied(self, node: str) -> tuple[int, int] | None:
        """(generation, sequence) of what a node obeys, as its last heartbeat says; None: it was not heard just now."""
        beat = self._beats.get(node)
        if beat is None or self._clock.monotonic() - beat.at > ANSWERS_WITHIN:
            return None
        return beat.heartbeat.applied.pair

    def controllers(self) -> tuple[ControllerBeat, ...]:
        """The controllers heard lately, by name."""
        since = self._clock.monotonic() - GONE_AFTER
        return tuple(beat for _, (at, beat) in sorted(self._controllers.items()) if at >= since)

    def _heard(self, beat: _Beat) -> Heard:
        heartbeat = beat.heartbeat
        return Heard(
            at=self._time.of(beat.at),
            instance=heartbeat.instance,
            boot=heartbeat.boot,
            engine=heartbeat.engine,
            untold=heartbeat.untold,
            applied=heartbeat.applied.pair,
            observed=heartbeat.observed,
            suspect_since=None if beat.suspect_at is None else self._time.of(beat.suspect_at),
            leaving=heartbeat.leaving,
            closed=beat.closed,
        )

    # listening

    async def _hear_nodes(self) -> None:
        async with self._bus.core.subscribe(subjects.HEARTBEAT_ALL, limit=16_384) as messages:
            async for message in messages:
                try:
                    heartbeat = tidy_heartbeat(decode(message.data, Heartbeat))
                except BadMessage as error:
                    log.warning("message.refused", subject=message.subject, why=error.message)
                    continue
                if message.subject != subjects.heartbeat(heartbeat.node):
                    log.warning("message.refused", subject=message.subject, why=f"a heartbeat of {heartbeat.node}")
                    continue
                await self._take(heartbeat, message)

    async def _take(self, heartbeat: Heartbeat, message: Message) -> None:
        refused = self._refusal(heartbeat)
        if not refused:
            self._note(heartbeat)
        if not self.epoch:
            return
        try:
            await self._bus.core.respond(message, encode(self._answer(heartbeat, refused)))
        except MeshError:
            log.debug("heartbeat.unanswered", node=heartbeat.node)

    def _refusal(self, heartbeat: Heartbeat) -> str:
        """Why this agent is no member; "" if it is."""
        stored = self._mirror.records.nodes.get(heartbeat.node)
        if stored is None:
            return f"node {heartbeat.node} has not joined"
        if stored.record.removed:
            return f"node {heartbeat.node} was removed from the mesh"
        if stored.record.instance != heartbeat.instance:
            return f"node name {heartbeat.node} is taken by another agent ({stored.record.instance[:12]})"
        return self.usurped(heartbeat.node, heartbeat.boot)

    def usurped(self, node: str, boot: str) -> str:
        """Why a machine with that boot id is not the node: another one, with the same identity, still beats."""
        beat = self._beats.get(node)
        if beat is None or not boot or beat.heartbeat.boot in ("", boot):
            return ""
        if self._clock.monotonic() - beat.at > HEARTBEATS_MISSED * heartbeat_period(len(self._mirror.records.nodes)):
            return ""
        return f"another machine answers as node {node}: the agent's data directory was copied"

    def _note(self, heartbeat: Heartbeat) -> None:
        old = self._beats.get(heartbeat.node)
        now = self._clock.monotonic()
        self._beats[heartbeat.node] = _Beat(heartbeat, now)
        self._levels.hear(heartbeat)
        verdict = self._mirror.records.liveness.get(heartbeat.node)
        late = MISSED_AFTER * heartbeat_period(len(self._mirror.records.nodes))
        missed = old is None or old.at < self._hearing_since or now - old.at > late
        news = old is None or missed or old.suspect_at is not None or _changed(old.heartbeat, heartbeat)
        if news or (self.epoch and (verdict is None or verdict.verdict == "down")):
            self._mirror.mark(Dirty(nodes=frozenset({heartbeat.node}), everything=old is None))
        self.suspicion.hear_node(heartbeat.node, heartbeat.applied.pair)

    def _answer(self, heartbeat: Heartbeat, refused: str) -> HeartbeatAnswer:
        mesh = self._mirror.records.mesh
        desired = self._mirror.records.assignments.get(heartbeat.node)
        members = len(self._mirror.records.nodes)
        due, key = self._levels.due(heartbeat)
        return HeartbeatAnswer(
            count=heartbeat.count,
            epoch=self.epoch,
            generation=mesh.generation if mesh else 1,
            period=max(HEARTBEAT_PERIOD, heartbeat_period(members)),
            observe_every=observation_period(members),
            desired=desired.sequence if desired and not refused else 0,
            endpoints=due,
            endpoints_key=key,
            endpoints_missing=self._levels.missing(heartbeat),
            endpoints_everywhere=self._everywhere(),
            observed=self._mirror.counters.get(heartbeat.node, 0),
            stuck=self.pending.long,
            lease=not refused and self._lease(heartbeat.node),
            wall=max(0.0, self._clock.wall()),
            refused=refused,
        )

    def confirmed(self, at: float) -> None:
        """The store has taken a write of this leader that was sent at that monotonic time."""
        self._confirmed_at = max(self._confirmed_at, at)

    def _lease(self, node: str) -> bool:
        """Whether the node may keep tasks that must not run twice (`schemas.leases`)."""
        verdict = self._mirror.records.liveness.get(node)
        up = verdict is not None and verdict.verdict != "down"
        return up and self._clock.monotonic() - self._confirmed_at <= CONFIRMED_FOR

    def _everywhere(self) -> int:
        """Up to which record of networks every node has come that follows any and may be passing on by them."""
        return self._levels.everywhere(self._clock.monotonic, self._passing(), len(self._beats))

    def _passing(self) -> Iterator[Heartbeat]:
        """What those nodes told last. One that this controller has not heard yet, and may soon, does not know."""
        liveness, now = self._mirror.records.liveness, self._clock.monotonic()
        for node, beat in self._beats.items():
            passing = passes_on(liveness.get(node), silent=now - beat.at, ended=_ended_for(beat, now))
            if beat.heartbeat.endpoints and passing:
                yield beat.heartbeat
        if now - self._hearing_since <= HEARTBEATS_MISSED * heartbeat_period(len(self._mirror.records.nodes)):
            for node, verdict in liveness.items():
                if node not in self._beats and verdict.verdict != "down":
                    yield Heartbeat(node=node, instance="", boot="", count=0, endpoints=NOT_KNOWN)

    async def _hear_controllers(self) -> None:
        async with self._bus.core.subscribe(subjects.CONTROLLER_ALL) as messages:
            async for message in messages:
                try:
                    beat = decode(message.data, ControllerBeat)
                except BadMessage as error:
                    log.warning("message.refused", subject=message.subject, why=error.message)
                    continue
                if message.subject == subjects.controller(beat.name):
                    self._controllers[beat.name] = (self._clock.monotonic(), beat)
                    self.suspicion.hear_controller(beat)
                    self.on_controller(beat)

    async def _hear_cuts(self) -> None:
        async with self._bus.disconnects() as cuts:
            async for message in cuts:
                node = message.subject.removeprefix(AGENT_USER)
                beat = self._beats.get(node)
                if beat is not None and message.subject.startswith(AGENT_USER):
                    suspect_at, closed = beat.suspect_at or self._clock.monotonic(), message.data == CLOSED
                    self._beats[node] = _Beat(beat.heartbeat, beat.at, suspect_at, closed or beat.closed)
                    self._mirror.mark(Dirty(nodes=frozenset({node})))


def _ended_for(beat: _Beat, now: float) -> float | None:
    return now - beat.suspect_at if beat.closed and beat.suspect_at is not None else None


def _changed(old: Heartbeat, new: Heartbeat) -> bool:
    """Whether a heartbeat says more than "still here"."""
    return (old.instance, old.boot, old.engine, old.untold, old.leaving, old.applied) != (
        new.instance,
        new.boot,
        new.engine,
        new.untold,
        new.leaving,
        new.applied,
    )
