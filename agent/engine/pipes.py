"""Bytes between the loop and a thread, a few chunks at a time: the loop never blocks, the thread may."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Iterable, Iterator

from schemas.errors import EngineUnavailable

DEPTH = 4
"""Chunks on their way at once."""


class ToThread:
    """Chunks of an async iterator, read in a thread by iterating over this."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._space = asyncio.Semaphore(DEPTH)
        self._items: queue.SimpleQueue[bytes | BaseException | None] = queue.SimpleQueue()

    async def feed(self, chunks: AsyncIterator[bytes]) -> None:
        """Pass on all chunks, and how they ended."""
        try:
            async for chunk in chunks:
                await self._space.acquire()
                self._items.put(chunk)
        except BaseException as error:
            self._items.put(EngineUnavailable("the transfer was given up") if _is_cancel(error) else error)
            raise
        self._items.put(None)

    def __iter__(self) -> Iterator[bytes]:
        while (item := self._items.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            self._loop.call_soon_threadsafe(self._space.release)
            yield item


class FromThread:
    """Chunks that a thread reads, taken in the loop by async iteration. Close it when it is not read to its end."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._space = threading.Semaphore(DEPTH)
        self._items: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue()
        self._abandoned = False

    def fill(self, chunks: Iterable[bytes]) -> None:
        """In the thread: pass on chunks until they end or nobody reads them any more."""
        for chunk in chunks:
            self._space.acquire()
            if self._abandoned:
                return
            self._loop.call_soon_threadsafe(self._items.put_nowait, chunk)

    def end(self, done: asyncio.Future[None]) -> None:
        """In the loop: no chunk comes any more; `done` tells how it ended."""
        self._items.put_nowait(None if done.cancelled() else done.exception())

    def close(self) -> None:
        """In the loop: nobody reads any more."""
        self._abandoned = True
        self._space.release()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (item := await self._items.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
            self._space.release()


def _is_cancel(error: BaseException) -> bool:
    return isinstance(error, asyncio.CancelledError | GeneratorExit)
