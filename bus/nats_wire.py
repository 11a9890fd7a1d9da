"""The words of JetStream, and their meaning: headers, error codes, times. Pure; no header is known above here."""

from __future__ import annotations

import base64
import binascii
import datetime
from collections.abc import Mapping
from typing import Any

import msgspec

from bus.commits import Delete, Fence, Write
from bus.port import Entry, LoggedEvent, StoreInfo
from schemas.errors import BadMessage, MeshError, Refused, StoreMissing, Unreachable
from schemas.subjects import EPOCH
from schemas.wire import UNDECODABLE

EXPECTED = "Nats-Expected-Last-Subject-Sequence"
EXPECTED_SUBJECT = "Nats-Expected-Last-Subject-Sequence-Subject"
MESSAGE_ID = "Nats-Msg-Id"
BATCH_ID = "Nats-Batch-Id"
BATCH_SEQUENCE = "Nats-Batch-Sequence"
BATCH_COMMIT = "Nats-Batch-Commit"
OPERATION = "KV-Operation"
TTL = "Nats-TTL"
SEQUENCE = "Nats-Sequence"
SUBJECT = "Nats-Subject"
TIME = "Nats-Time-Stamp"
PENDING = "Nats-Num-Pending"
STATUS = "Status"

TOMBSTONE_LIFE = "24h"
"""How long a deleted key is remembered (DESIGN)."""

QUORUM_SILENCE = 3.0
"""Seconds. The servers of a stream hear each other once a second; who leads it gives up only after ten (nats-server's
`hbIntervalDefault` and `lostQuorumIntervalDefault`)."""

WRONG_SEQUENCE = 10071
NO_MESSAGE = 10037
NO_STREAM = 10059
IN_FLIGHT = frozenset({10164, 10176, 10210, 10211})
"""Nothing was stored because other writes or batches are on their way, or a part of the batch was lost."""


class Fault(msgspec.Struct, frozen=True):
    """What an answer of JetStream says went wrong."""

    code: int = 0
    err_code: int = 0
    description: str = ""


class _Ack(msgspec.Struct, frozen=True):
    seq: int = 0
    count: int = 1
    error: Fault | None = None


class _StoredMessage(msgspec.Struct, frozen=True):
    subject: str
    seq: int
    time: str
    data: str = ""
    hdrs: str = ""


class _Got(msgspec.Struct, frozen=True):
    message: _StoredMessage | None = None
    error: Fault | None = None


class _StreamState(msgspec.Struct, frozen=True):
    first_seq: int = 0
    last_seq: int = 0


class _StreamReplica(msgspec.Struct, frozen=True):
    active: int = 0
    """Nanoseconds since the leader heard it."""


class _StreamCluster(msgspec.Struct, frozen=True):
    leader: str = ""
    replicas: tuple[_StreamReplica, ...] | None = None


class _Info(msgspec.Struct, frozen=True):
    created: str = ""
    ts: str = ""
    state: _StreamState = _StreamState()
    cluster: _StreamCluster = _StreamCluster()
    error: Fault | None = None


def write_headers(write: Write) -> dict[str, str]:
    """The headers of one write, with its own compare-and-set but without a fence."""
    headers: dict[str, str] = {}
    if isinstance(write, Delete):
        headers = {OPERATION: "DEL", TTL: TOMBSTONE_LIFE}
    if write.expected is not None:
        headers[EXPECTED] = str(write.expected)
    return headers


def fence_headers(fence: Fence, prefix: str) -> dict[str, str]:
    """The headers that have the server check the fence, on a literal subject: a wildcard lets stale writes through."""
    return {EXPECTED: str(fence.epoch), EXPECTED_SUBJECT: prefix + EPOCH}


def ack_of(data: bytes) -> tuple[int, int] | Fault:
    """(sequence, messages) of what was stored, or why it was not. Raises BadMessage."""
    ack = _decode(data, _Ack)
    return (ack.seq, ack.count) if ack.error is None else ack.error


def info_of(data: bytes) -> StoreInfo:
    """What STREAM.INFO says. Raises StoreMissing, BadMessage; Unreachable, also of a server without a majority.

    One that was cut off or stalled goes on answering as the stream's leader (seen: 300 times in 2 s after a stall), and
    does not know what the others have stored since.
    """
    info = _decode(data, _Info)
    if info.error is not None:
        raise error_of(info.error)
    others = info.cluster.replicas or ()
    heard = sum(other.active <= QUORUM_SILENCE * 1e9 for other in others)
    if 2 * (1 + heard) <= 1 + len(others):
        why = f"has not heard from most of the other {len(others)} for {QUORUM_SILENCE:g} s"
        raise Unreachable(f"the server that answers for the stream ({info.cluster.leader or 'it has no leader'}) {why}")
    state = info.state
    return StoreInfo(
        state.first_seq,
        state.last_seq,
        info.created,
        leader=info.cluster.leader,
        replicas=1 + len(others),
        now=seconds(info.ts),
    )


def stored_of(data: bytes, prefix: str) -> Entry | None:
    """The entry in an answer of STREAM.MSG.GET; None: there is none. Raises StoreMissing, Unreachable, BadMessage."""
    got = _decode(data, _Got)
    if got.error is not None and got.error.err_code == NO_MESSAGE:
        return None
    if got.error is not None:
        raise error_of(got.error)
    message = got.message
    if message is None:
        raise BadMessage("an answer without a message")
    try:
        value, headers = base64.b64decode(message.data), base64.b64decode(message.hdrs)
    except (binascii.Error, ValueError) as error:
        raise BadMessage(f"an answer that is no base64: {error}") from error
    deleted = f"{OPERATION}: DEL".encode() in headers or f"{OPERATION}: PURGE".encode() in headers
    return Entry(message.subject.removeprefix(prefix), None if deleted else value, message.seq, seconds(message.time))


def entry_of(headers: Mapping[str, str] | None, data: bytes, prefix: str) -> Entry | None:
    """The entry in a republished message or a direct get; None: it is none (garbage, or a status)."""
    parts = _stored_parts(headers)
    if headers is None or parts is None or not parts[0].startswith(prefix):
        return None
    subject, sequence, at = parts
    deleted = headers.get(OPERATION) in ("DEL", "PURGE")
    return Entry(subject.removeprefix(prefix), None if deleted else data, sequence, at)


def event_of(headers: Mapping[str, str] | None, data: bytes) -> LoggedEvent | None:
    """The event in a direct get; None: it is none."""
    parts = _stored_parts(headers)
    return None if parts is None else LoggedEvent(parts[1], parts[0], data, parts[2])


def error_of(fault: Fault) -> MeshError:
    """The error that a fault of the JetStream API means."""
    text = f"{fault.description} (JetStream {fault.err_code})"
    if fault.err_code == NO_STREAM:
        return StoreMissing(f"there is no such stream: {text}")
    return Refused(text) if 400 <= fault.code < 500 else Unreachable(text)


def seconds(time: str) -> float:
    """Seconds since 1970 of an RFC 3339 time with nanoseconds; 0.0: it is none."""
    whole, _, fraction = time.rstrip("Z").partition(".")
    try:
        moment = datetime.datetime.fromisoformat(whole).replace(tzinfo=datetime.UTC)
        return moment.timestamp() + (float(f"0.{fraction}") if fraction else 0.0)
    except ValueError:
        return 0.0


def rfc3339(at: float) -> str:
    """Seconds since 1970 as JetStream takes them."""
    return datetime.datetime.fromtimestamp(at, tz=datetime.UTC).isoformat().replace("+00:00", "Z")


def _stored_parts(headers: Mapping[str, str] | None) -> tuple[str, int, float] | None:
    if not headers or SUBJECT not in headers:
        return None
    sequence = headers.get(SEQUENCE, "")
    if not (sequence.isascii() and sequence.isdigit()):
        return None
    return headers[SUBJECT], int(sequence), seconds(headers.get(TIME, ""))


def _decode(data: bytes, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(data, type=kind)
    except UNDECODABLE as error:
        raise BadMessage(f"an answer that JetStream does not give: {error}") from error
