"""A store over JetStream: fenced, compared and batched writes; leader reads; reads from any replica."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from bus.batches import check_batch, fence_first
from bus.commits import Busy, Committed, Conflicted, Fence, Fenced, Outcome, Put, Unknown, Write
from bus.nats_line import Line
from bus.nats_listening import Answer
from bus.nats_snapshot import take_snapshot
from bus.nats_watch import NatsWatch
from bus.nats_wire import (
    BATCH_COMMIT,
    BATCH_ID,
    BATCH_SEQUENCE,
    IN_FLIGHT,
    STATUS,
    WRONG_SEQUENCE,
    Fault,
    ack_of,
    entry_of,
    fence_headers,
    info_of,
    stored_of,
    write_headers,
)
from bus.permissions import check_controller, check_publish, check_read, check_subscribe, node_of
from bus.port import Entry, Snapshot, StoreInfo, Watch
from schemas.errors import BadMessage, Refused, StoreMissing, Unreachable
from schemas.subjects import EPOCH

TIMEOUT = 5.0
"""Seconds that JetStream may take for an answer: some elections of a stream's leader are shorter."""

FILLER = "election.fence"
"""Written where a fence has no write of its own to ride on: every other write of the batch checks its own key."""


@dataclass(frozen=True)
class StoreNames:
    """Where a store is."""

    stream: str
    prefix: str
    """Of the subject of each key."""
    republished: str
    """Of the subject on which each stored entry is told."""


class NatsStore:
    """See `bus.port.Store`."""

    def __init__(self, line: Line, names: StoreNames) -> None:
        self._line = line
        self._names = names

    async def commit(self, batch: Sequence[Write], fence: Fence | None = None) -> Outcome:
        """See `bus.port.Store`."""
        check_batch(batch)
        if node_of(self._line.user) is not None:
            for write in batch:
                check_publish(self._line.user, self._names.prefix + write.key)
        try:
            answer = await self._send(batch, fence)
            stored = ack_of(answer.data)
        except (Unreachable, BadMessage) as error:
            return Unknown(error.message)
        if isinstance(stored, Fault):
            return await self._refusal(stored, batch, fence)
        sequence, count = stored
        return Committed(sequence=sequence, first=sequence - max(count, 1) + 1)

    async def read(self, key: str) -> Entry | None:
        """See `bus.port.Store`."""
        check_controller(self._line.user, "read from the stream's leader")
        question = msgspec.json.encode({"last_by_subj": self._names.prefix + key})
        answer = await self._line.ask(f"$JS.API.STREAM.MSG.GET.{self._names.stream}", question, timeout=TIMEOUT)
        entry = stored_of(answer.data, self._names.prefix)
        await self.info()  # who leads no more, and does not know it, is the one that answers this
        return entry

    async def read_near(self, key: str) -> Entry | None:
        """See `bus.port.Store`."""
        check_read(self._line.user, key)
        subject = f"$JS.API.DIRECT.GET.{self._names.stream}.{self._names.prefix}{key}"
        answer = await self._line.ask(subject, b"", timeout=TIMEOUT)
        status = answer.headers.get(STATUS)
        if status == "404":
            return None
        if status is not None:
            raise Unreachable(f"{subject}: status {status}")
        return entry_of(answer.headers, answer.data, self._names.prefix)

    async def snapshot(self) -> Snapshot:
        """See `bus.port.Store`."""
        check_controller(self._line.user, "take a snapshot")
        return await take_snapshot(self._line, self._names.stream, self._names.prefix)

    def watch(self, pattern: str = ">") -> Watch:
        """See `bus.port.Store`."""
        check_subscribe(self._line.user, self._names.republished + pattern)
        return NatsWatch(self._line, self._names.republished, self._names.prefix, pattern, self.info)

    async def info(self) -> StoreInfo:
        """See `bus.port.Store`."""
        check_controller(self._line.user, "ask for the stream's state")
        answer = await self._line.ask(f"$JS.API.STREAM.INFO.{self._names.stream}", b"", timeout=TIMEOUT)
        return info_of(answer.data)

    async def _send(self, batch: Sequence[Write], fence: Fence | None) -> Answer:
        if fence is None or all(write.expected is not None for write in batch):
            ordered = tuple(batch)
        else:
            ordered = fence_first(batch)
        if fence is not None and ordered[0].expected is not None:
            if len(ordered) == 1 and ordered[0].key == EPOCH and ordered[0].expected == fence.epoch:
                fence = None
            else:
                ordered = (Put(FILLER, b"{}"), *ordered)
        headers = [write_headers(write) for write in ordered]
        if fence is not None:
            headers[0] |= fence_headers(fence, self._names.prefix)
        if len(ordered) == 1:
            return await self._line.ask(*self._message(ordered[0]), headers=headers[0], timeout=TIMEOUT)
        return await self._send_batch(ordered, headers)

    async def _send_batch(self, batch: Sequence[Write], headers: list[dict[str, str]]) -> Answer:
        """All messages of an atomic batch: the first tells whether it may start, the last is answered for all."""
        name = secrets.token_hex(12)
        for number, each in enumerate(headers, start=1):
            each |= {BATCH_ID: name, BATCH_SEQUENCE: str(number)}
        headers[-1][BATCH_COMMIT] = "1"
        answer = await self._line.ask(*self._message(batch[0]), headers=headers[0], timeout=TIMEOUT)
        if answer.data:
            return answer
        for write, each in zip(batch[1:-1], headers[1:-1], strict=True):
            await self._line.tell(*self._message(write), headers=each)
        return await self._line.ask(*self._message(batch[-1]), headers=headers[-1], timeout=TIMEOUT)

    def _message(self, write: Write) -> tuple[str, bytes]:
        return self._names.prefix + write.key, write.value if isinstance(write, Put) else b""

    async def _refusal(self, fault: Fault, batch: Sequence[Write], fence: Fence | None) -> Outcome:
        """What an error of JetStream means for a commit. Nothing was stored."""
        why = f"{fault.description} (JetStream {fault.err_code})"
        if fault.err_code in IN_FLIGHT:
            return Busy(why)
        if fault.err_code != WRONG_SEQUENCE:
            raise Refused(f"the store refuses a write: {why}")
        if fence is None:
            return Conflicted(why)
        if all(write.expected is None for write in batch):
            return Fenced()
        try:
            epoch = await self.read(EPOCH)
        except (Unreachable, StoreMissing, BadMessage) as error:
            return Unknown(error.message)
        return Conflicted(why) if epoch is not None and epoch.sequence == fence.epoch else Fenced()
