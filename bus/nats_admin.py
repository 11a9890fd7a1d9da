"""Making a mesh: the three streams with their exact settings, and the `mesh` record.

Only `init`, `dev`, `lab up` and `restore` may do this. `create_mesh` never replaces what is there; `recreate_state`
does, for a store that is lost or was rolled back.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from bus.nats import NatsBus, connect
from bus.nats_line import Line
from bus.port import Bus, Committed, Credentials, Put
from schemas import subjects
from schemas.assignment import ASSIGNMENT_LIMIT
from schemas.clock import Clock, SystemClock
from schemas.errors import Conflict, Refused, Unreachable
from schemas.records import MeshRecord
from schemas.wire import encode

TIMEOUT = 20.0
"""Seconds that fresh servers may take to get ready."""

ASK_TIMEOUT = 1.0
CREATE_TIMEOUT = 5.0
HEADER_ROOM = 4 * 1024
SECOND = 1_000_000_000
EVENT_BYTES = 1024**3
EVENT_DAYS = 7
DEDUPE_SECONDS = 600
CONSUMERS = 100
STREAM_EXISTS = 10058
STREAM_MISSING = 10059
RETRY_CODES = frozenset({10005, 10008, 10009})
"""The servers are not ready yet: no peers for the replicas, or JetStream without a leader."""


class _Fault(msgspec.Struct, frozen=True):
    err_code: int = 0
    description: str = ""


class _Created(msgspec.Struct, frozen=True):
    error: _Fault | None = None


def stream_settings(replicas: int, *, first_sequence: int = 0) -> tuple[dict[str, Any], ...]:
    """The three streams, as STREAM.CREATE takes them."""
    state = _records(subjects.STATE_STREAM, subjects.STATE_PREFIX, subjects.STATE_REPUBLISHED, replicas)
    state |= {"allow_atomic": True, "allow_msg_ttl": True}
    if first_sequence:
        state["first_seq"] = first_sequence
    observed = _records(subjects.OBSERVED_STREAM, subjects.OBSERVED_PREFIX, subjects.OBSERVED_REPUBLISHED, replicas)
    events = {
        **_common(subjects.EVENT_STREAM, [subjects.EVENT_ALL], replicas),
        "discard": "old",
        "max_age": EVENT_DAYS * 24 * 3600 * SECOND,
        "max_bytes": EVENT_BYTES,
        "duplicate_window": DEDUPE_SECONDS * SECOND,
    }
    return state, observed, events


async def create_mesh(
    bus: Bus | Credentials,
    mesh_id: str,
    replicas: int = 1,
    *,
    generation: int = 1,
    first_sequence: int = 0,
    clock: Clock | None = None,
) -> int:
    """Create the streams and the `mesh` record; its sequence.

    Raises:
        Conflict: one of the streams exists already; nothing of it was touched.
        Unreachable: the servers did not get ready in time.
    """
    if isinstance(bus, Credentials):
        async with connect(bus, timeout=TIMEOUT) as fresh:
            return await create_mesh(
                fresh, mesh_id, replicas, generation=generation, first_sequence=first_sequence, clock=clock
            )
    if not isinstance(bus, NatsBus):
        raise TypeError("a mesh is created over NATS")
    clock = clock or SystemClock()
    await _check_absent(bus.line)
    for settings in stream_settings(replicas, first_sequence=first_sequence):
        await _create(bus.line, settings)
    record = MeshRecord(mesh_id=mesh_id, generation=generation, created_at=clock.wall())
    return await _write_record(bus, record)


async def recreate_state(bus: Bus, replicas: int, first_sequence: int) -> bool:
    """Delete the state stream, if there is one, and create it empty, its first sequence `first_sequence`.

    Of the other two streams one that is missing is created. True: the one of observations was. The caller writes the
    records, and the `mesh` record last: without it no controller takes the stream for a store.

    Raises:
        Refused: the servers don't let it.
        Unreachable: the servers did not get ready in time.
    """
    if not isinstance(bus, NatsBus):
        raise TypeError("streams are made over NATS")
    state, observed, events = stream_settings(replicas, first_sequence=first_sequence)
    answer = await _ready(bus.line, f"$JS.API.STREAM.DELETE.{subjects.STATE_STREAM}", {}, CREATE_TIMEOUT)
    if answer.error is not None and answer.error.err_code != STREAM_MISSING:
        raise Refused(f"{subjects.STATE_STREAM} can't be deleted: {answer.error.description}")
    await _create(bus.line, state)
    await _ensure(bus.line, events)
    return await _ensure(bus.line, observed)


async def _ensure(line: Line, settings: dict[str, Any]) -> bool:
    """Create a stream unless it is there; whether it was created."""
    answer = await _ready(line, f"$JS.API.STREAM.INFO.{settings['name']}", {}, ASK_TIMEOUT)
    if answer.error is None:
        return False
    if answer.error.err_code != STREAM_MISSING:
        raise Refused(f"{settings['name']}: {answer.error.description}")
    await _create(line, settings)
    return True


async def mesh_exists(bus: Bus) -> bool:
    """Whether the `mesh` record stands. Raises StoreMissing, Unreachable."""
    return await bus.state.read(subjects.MESH) is not None


async def _write_record(bus: Bus, record: MeshRecord) -> int:
    write = Put(subjects.MESH, encode(record), expected=0)
    async with asyncio.timeout(TIMEOUT):
        while True:
            outcome = await bus.state.commit((write,))
            if isinstance(outcome, Committed):
                return outcome.sequence
            stored = await bus.state.read(subjects.MESH)
            if stored is not None and stored.value == write.value:
                return stored.sequence
            if stored is not None:
                raise Conflict("there is a mesh on these servers already")
            await asyncio.sleep(0.1)


async def _check_absent(line: Line) -> None:
    for stream in (subjects.STATE_STREAM, subjects.OBSERVED_STREAM, subjects.EVENT_STREAM):
        answer = await _ready(line, f"$JS.API.STREAM.INFO.{stream}", {}, ASK_TIMEOUT)
        if answer.error is None:
            raise Conflict(f"the stream {stream} exists already", hint="a mesh is made on servers that have none")


async def _create(line: Line, settings: dict[str, Any]) -> None:
    answer = await _ready(line, f"$JS.API.STREAM.CREATE.{settings['name']}", settings, CREATE_TIMEOUT)
    if answer.error is None:
        return
    if answer.error.err_code == STREAM_EXISTS:
        raise Conflict(f"the stream {settings['name']} exists already")
    raise Refused(f"{settings['name']} can't be created: {answer.error.description}")


async def _ready(line: Line, subject: str, question: dict[str, Any], timeout: float) -> _Created:
    """Ask until the servers are ready to answer: creating the same stream twice is no error."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + TIMEOUT
    body = msgspec.json.encode(question) if question else b""
    while True:
        why = ""
        try:
            answer = msgspec.json.decode((await line.ask(subject, body, timeout=timeout)).data, type=_Created)
        except Unreachable as error:
            why = error.message
        else:
            if answer.error is None or answer.error.err_code not in RETRY_CODES:
                return answer
            why = answer.error.description
        if loop.time() > deadline:
            raise Unreachable(f"JetStream is not ready: {why}")
        await asyncio.sleep(0.1)


def _records(name: str, prefix: str, republished: str, replicas: int) -> dict[str, Any]:
    return {
        **_common(name, [f"{prefix}>"], replicas),
        "discard": "new",
        "max_msgs_per_subject": 1,
        "max_msg_size": ASSIGNMENT_LIMIT + HEADER_ROOM,
        "republish": {"src": f"{prefix}>", "dest": f"{republished}>"},
    }


def _common(name: str, names: list[str], replicas: int) -> dict[str, Any]:
    return {
        "name": name,
        "subjects": names,
        "retention": "limits",
        "storage": "file",
        "num_replicas": replicas,
        "max_consumers": CONSUMERS,
        "allow_direct": True,
        "deny_delete": True,
        "deny_purge": True,
        "allow_rollup_hdrs": False,
    }
