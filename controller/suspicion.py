"""Whether this store is an old one: an agent obeys what the mirror does not show. The mirror is late, or it is one."""

from __future__ import annotations

import asyncio

import structlog

from bus.port import Bus
from controller.mirror import Mirror
from controller.world import Dirty
from schemas import subjects
from schemas.errors import MeshError
from schemas.records import MeshRecord
from schemas.wire import decode

RETRY = 1.0
"""Seconds until a stream that did not say where it ends is asked again."""

log = structlog.get_logger()


class Suspicion:
    """What agents claim to obey, compared with where the store ends."""

    def __init__(self, bus: Bus, mirror: Mirror) -> None:
        self.rolled_back = ""
        """Why this store must be an old one; "" if no claim goes beyond it."""
        self._bus = bus
        self._mirror = mirror
        self._highest = (0, 0, "")
        """The highest (generation, sequence) that an agent claims to obey and that the mirror did not show then."""
        self._claimed = asyncio.Event()

    def hear(self, node: str, obeys: tuple[int, int]) -> None:
        """A node says which (generation, sequence) it obeys."""
        mesh = self._mirror.records.mesh
        if mesh is not None and obeys > (mesh.generation, self._mirror.sequence):
            self._highest = max(self._highest, (*obeys, node))
            self._claimed.set()
        elif self.rolled_back:
            self._claimed.set()

    async def run(self) -> None:
        """Whenever there is a claim, ask the stream where it ends; for ever."""
        while True:
            await self._claimed.wait()
            self._claimed.clear()
            try:
                info = await self._bus.state.info()
                ends = (await self._generation(), info.last)
            except MeshError:
                await asyncio.sleep(RETRY)
                self._claimed.set()
                continue
            self._judge(ends)

    async def _generation(self) -> int:
        """Of the store: it may have been made anew while this process was stopped, and the mirror not show it yet."""
        mesh = self._mirror.records.mesh
        known = mesh.generation if mesh else 0
        if self._highest[0] <= known:
            return known
        entry = await self._bus.state.read(subjects.MESH)
        return decode(entry.value, MeshRecord).generation if entry is not None and entry.value is not None else 0

    def _judge(self, ends: tuple[int, int]) -> None:
        generation, sequence, node = self._highest
        if (generation, sequence) > ends:
            if not self.rolled_back:
                log.error("store.rolled_back", node=node, obeys=(generation, sequence), ends=ends)
            claim = f"node {node} obeys {(generation, sequence)}, the store ends at {ends}"
            self.rolled_back = f"store.rolled_back: {claim}"
        elif self.rolled_back:
            log.info("store.recovered", ends=ends)
            self.rolled_back = ""
            self._mirror.mark(Dirty(everything=True))
