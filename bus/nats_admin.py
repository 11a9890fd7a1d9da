"""Making a mesh: the three streams with their exact settings, and the `mesh` record.

Only `init`, `dev`, `lab up` and `restore` may do this. `create_mesh` never replaces what is there, and goes on where an
earlier try for the same mesh stopped; `recreate_state` replaces, for a store that is lost or was rolled back.
"""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

import msgspec

from bus.commits import Committed, Put
from bus.nats import NatsBus, connect
from bus.nats_line import Line
from bus.port import Bus, Entry
from bus.users import Credentials
from schemas import subjects
from schemas.assignment import ASSIGNMENT_LIMIT
from schemas.clock import Clock, SystemClock
from schemas.errors import Conflict, Refused, Unreachable
from schemas.records import MeshRecord
from schemas.wire import decode, encode

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
NO_ROOM = 10047
NO_ROOM_SAID = "insufficient storage"
"""By the leader of a cluster, in words only: no server has the room."""

NO_ROOM_PATIENCE = 3.0
"""Seconds: a server that has just started may not have told the others of its room yet."""

RETRY_CODES = frozenset({10005, 10008, 10009})
"""The servers are not ready yet: no peers for the replicas, or JetStream without a leader."""


class _Fault(msgspec.Struct, frozen=True):
    err_code: int = 0
    description: str = ""


class _Created(msgspec.Struct, frozen=True):
    error: _Fault | None = None


class _Config(msgspec.Struct, frozen=True):
    description: str = ""


class _State(msgspec.Struct, frozen=True):
    messages: int = 0


class _Found(msgspec.Struct, frozen=True):
    error: _Fault | None = None
    config: _Config = _Config()
    state: _State = _State()


_Answer = TypeVar("_Answer", _Created, _Found)


def stream_settings(replicas: int, *, first_sequence: int = 0, mesh_id: str = "") -> tuple[dict[str, Any], ...]:
    """The three streams, as STREAM.CREATE takes them; `mesh_id` stands in their descriptions."""
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
    if mesh_id:
        for settings in (state, observed, events):
            settings["description"] = _description(mesh_id)
    return state, observed, events


def _description(mesh_id: str) -> str:
    return f"mesh {mesh_id}"


async def create_mesh(
    bus: Bus | Credentials,
    mesh_id: str,
    replicas: int = 1,
    *,
    generation: int = 1,
    first_sequence: int = 0,
    clock: Clock | None = None,
) -> int:
    """Create the streams and the `mesh` record; its sequence. What an earlier try left unfinished is finished.

    Raises:
        Conflict: another mesh is there, or was begun; nothing of it was touched.
        Refused: the servers have not the room.
        Unreachable: the servers did not get ready in time; it may be done again.
    """
    if isinstance(bus, Credentials):
        async with connect(bus, timeout=TIMEOUT) as fresh:
            return await create_mesh(
                fresh, mesh_id, replicas, generation=generation, first_sequence=first_sequence, clock=clock
            )
    if not isinstance(bus, NatsBus):
        raise TypeError("a mesh is created over NATS")
    clock = clock or SystemClock()
    record = MeshRecord(mesh_id=mesh_id, generation=generation, created_at=clock.wall())
    await _check_free(bus, record)
    for settings in stream_settings(replicas, first_sequence=first_sequence, mesh_id=mesh_id):
        await _create(bus.line, settings)
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
    answer = await _ready(bus.line, f"$JS.API.STREAM.DELETE.{subjects.STATE_STREAM}", {}, CREATE_TIMEOUT, _Created)
    if answer.error is not None and answer.error.err_code != STREAM_MISSING:
        raise Refused(f"{subjects.STATE_STREAM} can't be deleted: {answer.error.description}")
    await _create(bus.line, state)
    await _ensure(bus.line, events)
    return await _ensure(bus.line, observed)


async def _ensure(line: Line, settings: dict[str, Any]) -> bool:
    """Create a stream unless it is there; whether it was created."""
    if (await _ask_stream(line, settings["name"])).error is None:
        return False
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
            if stored is not None:
                _check_same(stored, record)
                return stored.sequence
            await asyncio.sleep(0.1)


async def _check_free(bus: NatsBus, record: MeshRecord) -> None:
    """Nothing is there, or what an unfinished try for this mesh has left. The state stream is made first."""
    state = await _ask_stream(bus.line, subjects.STATE_STREAM)
    if state.error is not None:
        for stream in (subjects.OBSERVED_STREAM, subjects.EVENT_STREAM):
            if (await _ask_stream(bus.line, stream)).error is None:
                raise Conflict(f"the stream {stream} exists already", hint="a mesh is made on servers that have none")
        return
    stored = await bus.state.read(subjects.MESH)
    if stored is not None:
        _check_same(stored, record)
        return
    begun = state.config.description
    if begun != _description(record.mesh_id) or state.state.messages:
        name = begun.removeprefix(_description(""))
        hint = f"a mesh {name!r} was begun here: the same command for {name!r} goes on" if name else ""
        raise Conflict(
            f"the stream {subjects.STATE_STREAM} exists already",
            hint=hint or "a mesh is made on servers that have none",
        )


def _check_same(stored: Entry, record: MeshRecord) -> None:
    """Raises Conflict: the `mesh` record tells of another mesh."""
    found = decode(stored.value, MeshRecord) if stored.value is not None else None
    if found is None or (found.mesh_id, found.generation) != (record.mesh_id, record.generation):
        raise Conflict(
            f"there is a mesh on these servers already: {found.mesh_id if found else 'its record is deleted'}"
        )


async def _ask_stream(line: Line, stream: str) -> _Found:
    """A stream as it is; an error only if there is none. Raises Refused, Unreachable."""
    found = await _ready(line, f"$JS.API.STREAM.INFO.{stream}", {}, ASK_TIMEOUT, _Found)
    if found.error is not None and found.error.err_code != STREAM_MISSING:
        raise Refused(f"{stream}: {found.error.description}")
    return found


async def _create(line: Line, settings: dict[str, Any]) -> None:
    answer = await _ready(line, f"$JS.API.STREAM.CREATE.{settings['name']}", settings, CREATE_TIMEOUT, _Created)
    if answer.error is None:
        return
    if answer.error.err_code == STREAM_EXISTS:
        raise Conflict(
            f"the stream {settings['name']} exists already, with other settings",
            hint="a mesh that was begun is finished by the same command with the same options",
        )
    if _no_room(answer.error):
        raise Refused(
            f"there is no room for {settings['name']}: {answer.error.description}",
            hint=f"{_wants(settings)}; raise max_file_store of the nats-servers or make room on the disk of their "
            "store_dir, then do the same again",
        )
    raise Refused(f"{settings['name']} can't be created: {answer.error.description}")


def _no_room(fault: _Fault) -> bool:
    return fault.err_code == NO_ROOM or NO_ROOM_SAID in fault.description


def _wants(settings: dict[str, Any]) -> str:
    """What a stream reserves, in words."""
    size = settings.get("max_bytes", 0)
    return f"it reserves {size / 1024**3:g} GiB on each server" if size else "it reserves nothing, but the disk is full"


async def _ready(line: Line, subject: str, question: dict[str, Any], timeout: float, kind: type[_Answer]) -> _Answer:
    """Ask until the servers are ready to answer: creating the same stream twice is no error."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    body = msgspec.json.encode(question) if question else b""
    while True:
        try:
            answer = msgspec.json.decode((await line.ask(subject, body, timeout=timeout)).data, type=kind)
        except Unreachable as error:
            why = error.message
        else:
            if answer.error is None or answer.error.err_code not in RETRY_CODES:
                return answer
            if _no_room(answer.error) and loop.time() > started + NO_ROOM_PATIENCE:
                return answer
            why = answer.error.description
        if loop.time() > started + TIMEOUT:
            raise Unreachable(f"JetStream is not ready: {why}", hint="do the same again: it goes on where it stopped")
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
