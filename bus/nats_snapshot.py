"""A snapshot of a stream by direct gets from any replicas, complete as of what its leader confirms.

The walk goes up the sequences in portions, each from one replica; the last portion ends at H. A key can be missed only
if a portion came from a replica ahead of a later one's: then the key's newest entry is above H. So the leader is asked
for its last sequence E *after* the walk. H >= E: nothing is above H, the snapshot is complete. Otherwise the walk goes
on; a single further portion that reaches E came from one replica and shows all that stands above the old H.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec
from nats.aio.msg import Msg

from bus.feed import Feed
from bus.nats_line import Line
from bus.nats_listening import Listener
from bus.nats_wire import PENDING, STATUS, entry_of, info_of, stored_of
from bus.port import Entry, Snapshot, StoreInfo
from schemas.errors import Unreachable

PORTION = 1000
PORTION_BYTES = 8 * 1024 * 1024
TIMEOUT = 5.0
ATTEMPTS = 100
LAG_WAIT = 0.05
"""Seconds to wait for a replica that is behind the leader."""


@dataclass
class Walk:
    """How far a walk has come."""

    highest: int = 0
    entries: dict[str, Entry] = field(default_factory=dict)

    def take(self, entry: Entry) -> None:
        """Keep the newest entry of each key."""
        known = self.entries.get(entry.key)
        if known is None or known.sequence < entry.sequence:
            self.entries[entry.key] = entry
        self.highest = max(self.highest, entry.sequence)

    def snapshot(self, sequence: int) -> Snapshot:
        """The live entries."""
        live = (entry for entry in self.entries.values() if entry.value is not None)
        return Snapshot(tuple(sorted(live, key=lambda entry: entry.sequence)), sequence)


async def take_snapshot(line: Line, stream: str, prefix: str) -> Snapshot:
    """See the module. Raises StoreMissing, Unreachable."""
    await _info(line, stream)
    walk = Walk()
    async with _portions(line, stream, prefix) as portions:
        await portions.walk_on(walk)
        for _ in range(ATTEMPTS):
            confirmed = (await _info(line, stream)).last
            reached = walk.highest
            if reached >= confirmed:
                return walk.snapshot(reached)
            count = await portions.walk_on(walk)
            if count == 1 and walk.highest >= confirmed:
                return walk.snapshot(walk.highest)
            if walk.highest == reached:
                if await _nothing_above(line, stream, prefix, reached):
                    return walk.snapshot(confirmed)
                await asyncio.sleep(LAG_WAIT)
    raise Unreachable(f"no replica of {stream} catches up with its leader")


@dataclass
class _Portions:
    """Asks for portions, and collects them."""

    line: Line
    stream: str
    prefix: str
    inbox: str
    feed: Feed[Msg]
    asked: int = 0

    async def walk_on(self, walk: Walk) -> int:
        """Walk to the end as the answering replicas see it; how many portions that took."""
        before = self.asked
        while await self._portion(walk):
            pass
        return self.asked - before

    async def _portion(self, walk: Walk) -> int:
        """One portion; how many messages its replica has beyond it."""
        question = {
            "seq": walk.highest + 1,
            "batch": PORTION,
            "max_bytes": PORTION_BYTES,
            "next_by_subj": f"{self.prefix}>",
        }
        self.asked += 1
        inbox = f"{self.inbox}.{self.asked}"
        await self.line.tell(f"$JS.API.DIRECT.GET.{self.stream}", msgspec.json.encode(question), reply=inbox)
        while True:
            message = await self._next()
            if message.subject != inbox:
                continue
            headers = message.headers or {}
            if STATUS in headers:
                return _pending(headers)
            entry = entry_of(headers, message.data, self.prefix)
            if entry is not None:
                walk.take(entry)

    async def _next(self) -> Msg:
        try:
            async with asyncio.timeout(TIMEOUT):
                return await self.feed.next()
        except TimeoutError:
            raise Unreachable(f"no snapshot of {self.stream} within {TIMEOUT:g} s") from None


def _pending(headers: dict[str, str]) -> int:
    status = headers[STATUS]
    if status == "404":
        return 0
    if status != "204":
        raise Unreachable(f"a direct get is answered with status {status}")
    return int(headers.get(PENDING, "0") or "0")


@asynccontextmanager
async def _portions(line: Line, stream: str, prefix: str) -> AsyncIterator[_Portions]:
    feed: Feed[Msg] = Feed(4 * PORTION)
    inbox = line.new_inbox()
    listener = Listener(f"{inbox}.>", lambda message: _push(feed, message))
    await line.listen(listener)
    try:
        yield _Portions(line, stream, prefix, inbox, feed)
    finally:
        await line.unlisten(listener)


def _push(feed: Feed[Msg], message: Msg) -> None:
    feed.push(message)


async def _info(line: Line, stream: str) -> StoreInfo:
    return info_of((await line.ask(f"$JS.API.STREAM.INFO.{stream}", b"", timeout=TIMEOUT)).data)


async def _nothing_above(line: Line, stream: str, prefix: str, sequence: int) -> bool:
    """Whether the leader has no message above `sequence`: the last ones were tombstones that have expired."""
    question = msgspec.json.encode({"seq": sequence + 1, "next_by_subj": f"{prefix}>"})
    answer = await line.ask(f"$JS.API.STREAM.MSG.GET.{stream}", question, timeout=TIMEOUT)
    return stored_of(answer.data, prefix) is None
