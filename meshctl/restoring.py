"""Making a lost or rolled-back store anew: who knows what is found out, and the plan (`meshctl.recovery`) is written.

Nothing is stopped by it: the new store's assignments are those that the agents obey, under a higher generation. The
`mesh` record is written last; until then no controller takes the stream for a store, and a restore that breaks off can
be done again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TypeVar

import structlog

from bus.commits import Committed, Conflicted, Put, Write
from bus.port import Bus, Subscription
from bus.writer import split
from meshctl.recovery import Found, Recovery
from schemas import subjects
from schemas.backup import Backup
from schemas.errors import BadMessage, MeshError, StoreMissing, TimedOut, Unreachable
from schemas.liveness import CONTROLLER_PERIOD, HEARTBEAT_PERIOD, ControllerBeat, Heartbeat, LeaderBeat
from schemas.nodeapi import AssignmentView, ReadAssignment
from schemas.observation import Observation
from schemas.records import CursorRecord, MeshRecord, NodeRecord
from schemas.replies import open_reply
from schemas.wire import decode, encode

LISTEN = 2.5 * max(CONTROLLER_PERIOD, HEARTBEAT_PERIOD)
"""Seconds of listening for agents and controllers."""

ASK_TIMEOUT = 5.0
ASK_AGAIN = 0.3
PATIENCE = 30.0
"""Seconds in which servers that have just come up must have found leaders for their streams (4 to 9 are usual)."""

T = TypeVar("T")
ASK_AT_ONCE = 32
WRITE_TRIES = 50
RETRY = 0.1

log = structlog.get_logger()

Recreate = Callable[[int], Awaitable[bool]]
"""Make the state stream anew with that first sequence (`bus.nats_admin.recreate_state`)."""


@dataclass
class _Heard:
    """What is gathered."""

    nodes: set[str] = field(default_factory=set)
    generation: int = 0
    sequence: int = 0
    mesh_id: str = ""
    leader: str = ""
    observed: dict[str, Observation] = field(default_factory=dict)

    def know(self, generation: int, sequence: int) -> None:
        """Something knows of this pair."""
        self.generation = max(self.generation, generation)
        self.sequence = max(self.sequence, sequence)


async def persistently(work: Callable[[], Awaitable[T]], patience: float = PATIENCE) -> T:
    """Do it again while the servers do not answer: after an outage they choose leaders for their streams at first.

    Raises:
        Unreachable: for `patience` seconds nobody answers.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    while True:
        try:
            return await work()
        except Unreachable:
            if loop.time() > deadline:
                raise
            await asyncio.sleep(ASK_AGAIN)


async def look_around(bus: Bus, backup: Backup | None) -> Found:
    """Listen and ask: which agents answer, what they obey, and the furthest that anything knows of."""
    heard = _Heard()
    for record in backup.records if backup else ():
        _note_node(heard, record.key, record.content)
    async with asyncio.TaskGroup() as group:
        group.create_task(_listen(bus, heard))
        group.create_task(persistently(lambda: _look_into_stores(bus, heard)))
    views: dict[str, AssignmentView] = {}
    room = asyncio.Semaphore(ASK_AT_ONCE)
    async with asyncio.TaskGroup() as group:
        for node in sorted(heard.nodes):
            group.create_task(_ask(bus, node, views, room))
    for view in views.values():
        heard.know(*view.applied.pair)
        heard.know(view.applied.generation, view.networks_known)
    silent = frozenset(heard.nodes - views.keys())
    known = (backup.head.generation, backup.head.sequence) if backup is not None else (0, 0)
    observed = [heard.observed[node] for node in sorted(silent & heard.observed.keys())]
    return Found(
        views=dict(sorted(views.items())),
        silent=silent,
        seen=_slots_seen(each for each in observed if each.applied.pair > known),
        highest=(heard.generation, heard.sequence),
        mesh_id=heard.mesh_id,
        leader=heard.leader,
    )


def _slots_seen(observations: Iterable[Observation]) -> dict[str, frozenset[str]]:
    """Service -> slots with a live task.

    Of nodes that obeyed what the backup does not know: what one that is down for long, or was removed, ran before was
    assigned to others since, or is no more.
    """
    slots: dict[str, set[str]] = {}
    for task in (task for observation in observations for task in observation.tasks if not task.ended):
        slots.setdefault(task.service, set()).add(task.slot)
    return {service: frozenset(each) for service, each in sorted(slots.items())}


async def restore_store(bus: Bus, recreate: Recreate, recovery: Recovery, views: Iterable[str]) -> int:
    """Do what was planned; the sequence of the `mesh` record.

    Raises:
        Refused: the servers don't let it.
        Unreachable: they do not answer, or take no writes. The same can be done again.
    """
    observed_lost = await recreate(recovery.first_sequence)
    sequence = recovery.first_sequence
    if recovery.records:
        for batch in split([Put(record.key, record.value) for record in recovery.records]):
            sequence = await _write(bus, batch)
    cursor = Put(subjects.EVENTS_CURSOR, encode(CursorRecord(sequence=sequence)))
    sequence = await _write(bus, (cursor, Put(subjects.MESH, encode(recovery.mesh))))
    if observed_lost:
        await _observe_again(bus, views)
    return sequence


async def new_leader(bus: Bus, generation: int, patience: float) -> LeaderBeat:
    """Who leads on the new store. Raises TimedOut."""
    try:
        async with asyncio.timeout(patience), bus.core.subscribe(subjects.LEADER) as beats:
            async for message in beats:
                with contextlib.suppress(BadMessage):
                    beat = decode(message.data, LeaderBeat)
                    if beat.generation == generation and not beat.stepping_down:
                        return beat
    except TimeoutError:
        pass
    raise TimedOut(f"the store is made anew, but nobody led it within {patience:g} s", hint="meshctl status")


async def laggards(bus: Bus, sequence: int, patience: float) -> dict[str, str]:
    """Wait until every controller that is heard has taken the new store in; controller -> why it has not yet."""
    behind: dict[str, str] = {}
    heard: set[str] = set()
    loop = asyncio.get_running_loop()
    enough = loop.time() + LISTEN
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(patience), bus.core.subscribe(subjects.CONTROLLER_ALL) as beats:
            async for message in beats:
                with contextlib.suppress(BadMessage):
                    beat = decode(message.data, ControllerBeat)
                    heard.add(beat.name)
                    behind.pop(beat.name, None)
                    if beat.trouble or beat.sequence < sequence:
                        behind[beat.name] = beat.trouble or f"it is at {beat.sequence}, the store began at {sequence}"
                if heard and not behind and loop.time() >= enough:
                    break
    return behind


async def _write(bus: Bus, batch: tuple[Write, ...]) -> int:
    """Only into a store that has none of it: an attempt that took its time must not follow a leader's first write."""
    why, fresh = "", tuple(replace(each, expected=0) for each in batch)
    for _ in range(WRITE_TRIES):
        try:
            outcome = await bus.state.commit(fresh)
            if isinstance(outcome, Committed):
                return outcome.sequence
            why = str(outcome)
            if isinstance(outcome, Conflicted) and (taken := await _taken(bus, batch[-1])):
                return taken
        except (Unreachable, StoreMissing) as error:
            why = error.message
        await asyncio.sleep(RETRY)
    raise Unreachable(f"the new store takes no writes: {why}", hint="do the same again")


async def _taken(bus: Bus, last: Write) -> int:
    """The sequence of a batch's last record, if an attempt of before was stored after all; 0: it was not."""
    entry = await bus.state.read(last.key)
    return entry.sequence if entry is not None and isinstance(last, Put) and entry.value == last.value else 0


async def _listen(bus: Bus, heard: _Heard) -> None:
    async with (
        bus.core.subscribe(subjects.HEARTBEAT_ALL, limit=16_384) as beats,
        bus.core.subscribe(subjects.CONTROLLER_ALL) as controllers,
    ):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LISTEN), asyncio.TaskGroup() as group:
                group.create_task(_hear_agents(beats, heard))
                group.create_task(_hear_controllers(controllers, heard))


async def _hear_agents(beats: Subscription, heard: _Heard) -> None:
    async for message in beats:
        with contextlib.suppress(BadMessage):
            beat = decode(message.data, Heartbeat)
            heard.nodes.add(beat.node)
            heard.know(*beat.applied.pair)


async def _hear_controllers(beats: Subscription, heard: _Heard) -> None:
    async for message in beats:
        with contextlib.suppress(BadMessage):
            beat = decode(message.data, ControllerBeat)
            heard.know(beat.generation, beat.sequence)
            heard.mesh_id = heard.mesh_id or beat.mesh_id
            if beat.leads and not beat.trouble:
                heard.leader = beat.name


async def _look_into_stores(bus: Bus, heard: _Heard) -> None:
    """What is left of the streams."""
    with contextlib.suppress(StoreMissing):
        snapshot = await bus.state.snapshot()
        heard.know(0, max(snapshot.sequence, (await bus.state.info()).last))
        for entry in snapshot.entries:
            _note_node(heard, entry.key, entry.value or b"")
            if entry.key == subjects.MESH:
                with contextlib.suppress(BadMessage):
                    heard.know(decode(entry.value or b"", MeshRecord).generation, 0)
    with contextlib.suppress(StoreMissing):
        for entry in (await bus.observed.snapshot()).entries:
            heard.nodes.add(entry.key)
            with contextlib.suppress(BadMessage):
                observation = heard.observed[entry.key] = decode(entry.value or b"", Observation)
                heard.know(*observation.applied.pair)


def _note_node(heard: _Heard, key: str, value: bytes) -> None:
    if key.startswith("node."):
        with contextlib.suppress(BadMessage):
            record = decode(value, NodeRecord)
            if not record.removed:
                heard.nodes.add(record.name)


async def _ask(bus: Bus, node: str, views: dict[str, AssignmentView], room: asyncio.Semaphore) -> None:
    """Ask until there is an answer or the time is up: an agent that has just started needs a moment."""
    why, request, subject = "", encode(ReadAssignment()), subjects.node_request(node, "assignment")
    async with room:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ASK_TIMEOUT):
                while node not in views:
                    try:
                        reply = await bus.core.request(subject, request, timeout=ASK_TIMEOUT / 2)
                        views[node] = open_reply(reply, AssignmentView)
                    except MeshError as error:
                        why = error.message
                        await asyncio.sleep(ASK_AGAIN)
    if node not in views:
        log.info("assignment.not_told", node=node, why=why)


async def _observe_again(bus: Bus, nodes: Iterable[str]) -> None:
    """The observations are lost: agents write theirs anew."""
    for node in nodes:
        with contextlib.suppress(MeshError):
            request = encode(ReadAssignment(observe=True))
            await bus.core.request(subjects.node_request(node, "assignment"), request, timeout=ASK_TIMEOUT)
