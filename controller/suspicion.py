"""Whether this store is an old one: an agent obeys what the mirror does not show. The mirror is late, or it is one."""

from __future__ import annotations

import asyncio

import structlog

from bus.port import Bus
from controller.mirror import Mirror
from controller.world import Dirty
from schemas.errors import MeshError

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
            except MeshError:
                await asyncio.sleep(RETRY)
                self._claimed.set()
                continue
            self._judge(info.last)

    def _judge(self, last: int) -> None:
        mesh = self._mirror.records.mesh
        generation, sequence, node = self._highest
        ends = (mesh.generation if mesh else 0, last)
        if (generation, sequence) > ends:
            if not self.rolled_back:
                log.error("store.rolled_back", node=node, obeys=(generation, sequence), ends=ends)
            claim = f"node {node} obeys {(generation, sequence)}, the store ends at {ends}"
            self.rolled_back = f"store.rolled_back: {claim}"
        elif self.rolled_back:
            log.info("store.recovered", ends=ends)
            self.rolled_back = ""
            self._mirror.mark(Dirty(everything=True))
