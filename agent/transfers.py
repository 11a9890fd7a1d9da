"""Takes in images over the bus: chunk by chunk into a spool file, checked, then loaded into the engine.

A chunk that comes twice is answered twice and stored once; one that comes too early is answered with how many are
here, so that the sender goes back. Memory is bounded by one chunk. What is given up is thrown away after a while.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field

import structlog

from agent.brought import Brought
from agent.engine.port import Engine
from agent.files import Files
from agent.telling import Teller
from schemas.clock import Clock
from schemas.errors import Refused, UsageError
from schemas.nodeapi import LoadAnswer, LoadChunk
from schemas.subjects import is_token

PREFIX = "load-"
AT_ONCE = 4
GIVEN_UP_AFTER = 600.0
KEPT = 32
"""Finished transfers that are remembered, for senders who ask again."""

log = structlog.get_logger()


@dataclass
class _Transfer:
    name: str
    touched: float
    received: int = 0
    checksum: hashlib._Hash = field(default_factory=hashlib.sha256)
    done: LoadAnswer | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Transfers:
    """All images on their way to this node."""

    def __init__(self, engine: Engine, files: Files, brought: Brought, teller: Teller, clock: Clock) -> None:
        self._engine = engine
        self._files = files
        self._brought = brought
        self._teller = teller
        self._clock = clock
        self._transfers: dict[str, _Transfer] = {}

    async def clean(self) -> None:
        """Throw away what an earlier process has left half done."""
        for name in await self._files.names(PREFIX):
            await self._files.remove(name)

    async def take(self, chunk: LoadChunk) -> LoadAnswer:
        """One chunk. Raises Refused: the checksum is wrong, or too much at once; UsageError; EngineError."""
        if not is_token(chunk.transfer):
            raise UsageError(f"{chunk.transfer!r} is no name for a transfer")
        await self._give_up_old()
        transfer = self._transfers.get(chunk.transfer) or self._begin(chunk)
        async with transfer.lock:
            transfer.touched = self._clock.monotonic()
            if transfer.done is not None:
                return transfer.done
            if chunk.index != transfer.received:
                return LoadAnswer(received=transfer.received)
            await self._files.append(transfer.name, chunk.data, durable=False)
            transfer.checksum.update(chunk.data)
            transfer.received += 1
            if chunk.last:
                transfer.done = await self._finish(transfer, chunk)
                return transfer.done
        return LoadAnswer(received=transfer.received)

    def _begin(self, chunk: LoadChunk) -> _Transfer:
        if chunk.index:
            raise Refused(f"transfer {chunk.transfer} is not known here", hint="begin it again")
        if sum(transfer.done is None for transfer in self._transfers.values()) >= AT_ONCE:
            raise Refused(f"{AT_ONCE} images are being loaded already", hint="try again later")
        transfer = _Transfer(f"{PREFIX}{chunk.transfer}.tar", self._clock.monotonic())
        self._transfers[chunk.transfer] = transfer
        return transfer

    async def _finish(self, transfer: _Transfer, chunk: LoadChunk) -> LoadAnswer:
        """The last chunk is here: check all of it and load it. The spool file goes, whatever comes of it."""
        try:
            if transfer.checksum.hexdigest() != chunk.sha256.removeprefix("sha256:"):
                raise Refused("the image's archive was damaged on its way: its SHA-256 differs", hint="send it again")
            images = await self._engine.load(self._files.pieces(transfer.name))
        except BaseException:
            del self._transfers[chunk.transfer]
            raise
        finally:
            await self._files.remove(transfer.name)
        for reference in images:
            found = await self._engine.image(reference)
            if found is not None:
                await self._brought.add(found.id)
        self._teller.tell("image.loaded", images=list(images))
        log.info("image.loaded", images=images, chunks=transfer.received)
        return LoadAnswer(received=transfer.received, images=images)

    async def _give_up_old(self) -> None:
        now = self._clock.monotonic()
        done = [name for name, transfer in self._transfers.items() if transfer.done is not None]
        old = [name for name, one in self._transfers.items() if now - one.touched > GIVEN_UP_AFTER]
        for name in {*old, *done[:-KEPT]}:
            transfer = self._transfers.get(name)
            if transfer is not None and not transfer.lock.locked():
                del self._transfers[name]
                await self._files.remove(transfer.name)
