"""A bounded row of things to be read by one reader: what both adapters put messages, entries and advisories into.

Pushing never waits: callbacks of a library can push. At the limit the oldest is dropped and counted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Feed(Generic[T]):
    """The row. Iterating it goes on for ever."""

    def __init__(self, limit: int) -> None:
        self.dropped = 0
        self._limit = limit
        self._items: deque[T] = deque()
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    def push(self, item: T) -> bool:
        """Put `item` last; False: the oldest had to go for it."""
        kept = len(self._items) < self._limit
        if not kept:
            self._items.popleft()
            self.dropped += 1
        self._items.append(item)
        self._filled.set()
        return kept

    def replace_all(self, item: T) -> None:
        """Drop everything (counted) and keep `item` alone."""
        self.dropped += len(self._items)
        self._items.clear()
        self.push(item)

    async def next(self) -> T:
        """The first item, once there is one."""
        while not self._items:
            self._filled.clear()
            await self._filled.wait()
        return self._items.popleft()
