"""Whether this store is an old one: an agent obeys, or another controller has seen, what the mirror does not show.

The mirror is late, or the store was rolled back, and this controller has not seen what was lost: it was stopped, or cut
off, when that was written. The stream's leader tells which.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from bus.port import Bus
from controller.mirror import Mirror
from controller.world import Dirty
from schemas import subjects
from schemas.errors import MeshError
from schemas.liveness import ControllerBeat
from schemas.records import MeshRecord
from schemas.wire import decode

RETRY = 1.0
"""Seconds until a stream that did not say where it ends is asked again."""

SURE_AFTER = 0.1
"""Seconds after which a store that seems to be an old one is asked once more: a server that has stored what the others
agreed on may tell of it a moment before the stream's leader does."""

log = structlog.get_logger()


@dataclass(frozen=True, order=True)
class _Claim:
    """Somebody knows of this write. `key`: of what; "": that there is one is all that is said."""

    generation: int
    sequence: int
    said: str
    """Who, and by what: "node n1 obeys"."""
    key: str = ""

    @property
    def pair(self) -> tuple[int, int]:
        return self.generation, self.sequence


NOTHING = _Claim(0, 0, "")


class Suspicion:
    """What others claim to know of the store, compared with the store."""

    def __init__(self, bus: Bus, mirror: Mirror) -> None:
        self.rolled_back = ""
        """Why this store must be an old one; "" if no claim goes beyond it."""
        self._bus = bus
        self._mirror = mirror
        self._furthest = NOTHING
        """The claim of the highest (generation, sequence) that the mirror did not show then."""
        self._lacking = NOTHING
        """The last claim of a key's write that the mirror went past, and does not know."""
        self._claimed = asyncio.Event()

    def hear(self, said: str, knows: tuple[int, int]) -> None:
        """Somebody, as `said`, knows of the store up to this (generation, sequence)."""
        mesh = self._mirror.records.mesh
        if mesh is not None and knows > (mesh.generation, self._mirror.sequence):
            self._furthest = max(self._furthest, _Claim(*knows, said))
            self._claimed.set()
        elif self.rolled_back:
            self._claimed.set()

    def hear_controller(self, beat: ControllerBeat) -> None:
        """A controller says how far it is, and what the store lacks of that."""
        mesh, said = self._mirror.records.mesh, f"controller {beat.name} has seen"
        if mesh is None or beat.mesh_id != mesh.mesh_id:
            return
        self.hear(said, (beat.generation, beat.sequence))
        if beat.lacks and (self._mirror.records.sequence_of(beat.lacks) or 0) < beat.lacks_at:
            self._lacking = _Claim(beat.generation, beat.lacks_at, said, beat.lacks)
            self._claimed.set()

    async def run(self) -> None:
        """Whenever there is a claim, ask the stream's leader; for ever."""
        while True:
            await self._claimed.wait()
            self._claimed.clear()
            try:
                why = await self._compared()
                if why and not self.rolled_back:
                    await asyncio.sleep(SURE_AFTER)
                    why = await self._compared()
                self._judge(why)
            except MeshError:
                await asyncio.sleep(RETRY)
                self._claimed.set()

    async def _compared(self) -> str:
        return await self._beyond() or await self._unknown()

    async def _beyond(self) -> str:
        """What claim goes beyond the store's end; "": none."""
        claim = self._furthest  # what is claimed while it is asked may be more than it tells
        info = await self._bus.state.info()
        ends = (await self._generation(claim), info.last)
        return f"{claim.said} {claim.pair}, the store ends at {ends}" if claim.pair > ends else ""

    async def _unknown(self) -> str:
        """What key the store holds as it was before a write that was seen; "": none."""
        claim = self._lacking
        if not claim.key or await self._generation(claim) > claim.generation:
            return ""
        entry = await self._bus.state.read(claim.key)
        if entry is None or entry.sequence >= claim.sequence:
            return ""
        return f"{claim.said} {claim.key} at {claim.pair}, the store holds that of {entry.sequence}"

    async def _generation(self, claim: _Claim) -> int:
        """Of the store: it may have been made anew while this process was stopped, and the mirror not show it yet."""
        mesh = self._mirror.records.mesh
        known = mesh.generation if mesh else 0
        if claim.generation <= known:
            return known
        entry = await self._bus.state.read(subjects.MESH)
        return decode(entry.value, MeshRecord).generation if entry is not None and entry.value is not None else 0

    def _judge(self, why: str) -> None:
        if why and not self.rolled_back:
            log.error("store.rolled_back", why=why)
        elif self.rolled_back and not why:
            log.info("store.recovered")
            self._mirror.mark(Dirty(everything=True))
        self.rolled_back = f"store.rolled_back: {why}" if why else ""
