"""The ports of the bus: what controllers, agents and clients may ask of it.

One `Bus` has core messages (`core`), two stores of records (`state`, `observed`) and the event log (`events`).
Methods raise `schemas.errors`: `Unreachable` when nobody answers in time, `StoreMissing` when the stream is not there.
Only `commit` tells its outcome as a value (`bus.commits`), since each outcome asks for another next step.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from bus.commits import Fence, Outcome, Write


@dataclass(frozen=True)
class Entry:
    """A record as the stream holds it. `value` None: deleted (a tombstone with that sequence)."""

    key: str
    value: bytes | None
    sequence: int
    at: float
    """Stream time: seconds since 1970 by the server that stored it."""


@dataclass(frozen=True)
class Gap:
    """A watch has missed entries, or may have: take a new snapshot."""

    why: str


CLOSED = b"closed"
"""What an advisory says where the client's machine has closed the connection."""


@dataclass(frozen=True)
class Snapshot:
    """All live entries as of `sequence` (tombstones left out): complete up to there."""

    entries: tuple[Entry, ...]
    sequence: int


@dataclass(frozen=True)
class StoreInfo:
    """What the server tells of a stream."""

    first: int
    last: int
    created: str
    leader: str = ""
    replicas: int = 1
    now: float = 0.0
    """Seconds since 1970 by the server that leads the stream, as it answered; 0.0: it did not tell."""


@dataclass
class Message:
    """A core message as received."""

    subject: str
    data: bytes
    reply: str = ""


class Subscription(AbstractAsyncContextManager["Subscription"], Protocol):
    """Messages of a subject, bounded: at the limit the oldest is dropped and counted. Survives reconnects."""

    dropped: int

    def __aiter__(self) -> AsyncIterator[Message]:
        """The messages, for ever."""
        ...

    async def next(self) -> Message:
        """The next message."""
        ...


class Core(Protocol):
    """Messages that nobody keeps."""

    async def publish(self, subject: str, data: bytes) -> None:
        """Tell whoever listens now. Raises Unreachable while not connected (it is not buffered)."""
        ...

    async def request(self, subject: str, data: bytes, *, timeout: float) -> bytes:
        """The first answer. Raises Unreachable: no responder, or no answer within `timeout` seconds."""
        ...

    async def respond(self, message: Message, data: bytes) -> None:
        """Answer a request; does nothing where no answer is wanted."""
        ...

    def subscribe(self, subject: str, *, queue: str = "", limit: int = 1024) -> Subscription:
        """Listen (on entering the context); one of the `queue` gets each message if that is named."""
        ...


class Watch(AbstractAsyncContextManager["Watch"], Protocol):
    """Entries as they are stored, in order. A `Gap` says that some may be missing; it goes on after that."""

    def __aiter__(self) -> AsyncIterator[Entry | Gap]:
        """The entries, for ever."""
        ...

    async def next(self) -> Entry | Gap:
        """The next entry or gap."""
        ...


class Store(Protocol):
    """One stream of records by key, in one total order."""

    async def commit(self, batch: Sequence[Write], fence: Fence | None = None) -> Outcome:
        """Store all of the batch or nothing.

        Raises:
            ValueError: over the limits, or a key twice.
            Refused: the store takes no such write, or none at all now: it is full, or its files can't be written.
        """
        ...

    async def read(self, key: str) -> Entry | None:
        """The last entry of a key as the stream's leader has it (never stale); None: there is none at all.

        Raises StoreMissing, Unreachable, as `info` does.
        """
        ...

    async def read_near(self, key: str) -> Entry | None:
        """The same from any replica: may be stale."""
        ...

    async def snapshot(self) -> Snapshot:
        """Everything, complete as of a sequence that the stream's leader confirmed."""
        ...

    def watch(self, pattern: str = ">") -> Watch:
        """New entries whose key matches. With ">" sequences tell a gap, otherwise only reconnects do."""
        ...

    async def info(self) -> StoreInfo:
        """First and last sequence now, as its leader has them. Raises StoreMissing; Unreachable, also while it has none
        that hears most of its servers."""
        ...


@dataclass(frozen=True)
class LoggedEvent:
    """A message of the event log."""

    sequence: int
    subject: str
    data: bytes
    at: float


@dataclass(frozen=True)
class From:
    """Where reading the log starts: after a sequence, or at a time (seconds since 1970), or with what comes next.

    `cursor` names a durable place kept by the server: reading goes on after what was last `confirmed` there;
    the rest says where a new cursor starts.
    """

    after: int | None = None
    since: float | None = None
    cursor: str = ""


class EventReader(AbstractAsyncContextManager["EventReader"], Protocol):
    """Events in the log's order; rebuilt by itself over restarts of servers, without loss."""

    def __aiter__(self) -> AsyncIterator[LoggedEvent]:
        """The events, for ever."""
        ...

    async def next(self) -> LoggedEvent:
        """The next event."""
        ...

    async def confirm(self, sequence: int) -> None:
        """All up to `sequence` is dealt with: a named cursor goes on after it. Does nothing without a cursor.

        Each is one write. One that could not be stored (no connection) is covered by the next; if none follows, the
        events after the last that was stored come again.
        """
        ...


class EventLog(Protocol):
    """The stream of events."""

    async def append(self, subject: str, data: bytes, message_id: str) -> int:
        """Store one; the same `message_id` within 10 minutes is stored once. Raises Unreachable if not acknowledged."""
        ...

    def read(self, start: From, subjects: Sequence[str] = ("mesh.event.>",)) -> EventReader:
        """Events of these subjects (wildcards allowed)."""
        ...

    async def find(self, pattern: str) -> LoggedEvent | None:
        """The oldest event on a subject that matches, looked up by the server's index; None: there is none.

        Any replica answers: what was stored just now may be missing. Raises Unreachable, StoreMissing.
        """
        ...

    async def info(self) -> StoreInfo:
        """First and last sequence now."""
        ...


class Bus(Protocol):
    """One connection to the mesh, kept up by its adapter."""

    core: Core
    state: Store
    observed: Store
    events: EventLog

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        ...

    def disconnects(self) -> Subscription:
        """Advisories: each message's `subject` is the user whose connection ended (controllers only).

        Its `data` is `CLOSED` where the client's own machine closed it, as it does when the process has ended: then the
        machine lives. Otherwise nothing more is known.
        """
        ...

    async def check_line(self, limit: float) -> bool:
        """Ask the own server whether it is there; if it says nothing for `limit` seconds, move to another one.

        For who misses an answer that should have come: a server that stalls keeps its connections open. The connection
        is given up only when another server has let this client in; then what waits for an answer fails with
        Unreachable, and watches say Gap. Seconds in which this process itself did not run don't count.

        Returns: whether the connection is another one now. Never raises.
        """
        ...
