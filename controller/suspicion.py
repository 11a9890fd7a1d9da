"""Whether this store is an old one: what others know, or this controller was told, goes beyond what the mirror shows.

That is late, or the store was rolled back, and this controller has not seen what was lost: it was stopped, or cut off,
when that was written. The stream's leader tells which; but a server that led the stream, stalled and woke up tells of a
shorter one for a while. What an agent obeys can't wait for that: it would be taken away. What another controller has
seen does, and what this one was told; until then it is doubtful whether all is known here (`controller.caution`). So it
is while others say that it is an old one, and nothing in it tells so any more.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

import structlog

from bus.port import Bus
from controller.mirror import Mirror
from controller.world import Dirty
from schemas import subjects
from schemas.errors import MeshError
from schemas.liveness import CONTROLLER_PERIOD, ControllerBeat, LeaderBeat
from schemas.records import MeshRecord
from schemas.wire import decode

RETRY = 1.0
"""Seconds until a stream that did not say where it ends is asked again."""

PAUSE = 0.1
"""Seconds between two looks at least: in a mesh that is frozen each heartbeat asks for one."""

RECHECK = 0.5
"""Seconds between two looks while it is in doubt."""

WARNED_FOR = 3 * CONTROLLER_PERIOD
"""Seconds for which it counts that another controller has said that the store was rolled back."""

LOOK_EVERY = 1.0
"""Seconds between two looks at what this controller was told: they ask nobody."""

SURE_AFTER = 5.0
"""Seconds for which a store has to contradict what a controller has seen or was told: a nats-server that woke up from a
stall told of the stream as it had been for 1.9 s (measured, with three servers on 2 busy CPUs)."""

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
    """What others claim to know of the store, compared with the store. `own`: this controller's name."""

    def __init__(self, bus: Bus, mirror: Mirror, own: str = "") -> None:
        self.rolled_back = ""
        """Why this store must be an old one; "" if no claim goes beyond it."""
        self.doubtful_since: float | None = None
        """Loop time since which it contradicts what a controller has seen or was told; None: it does not."""
        self._bus, self._own = bus, own
        self._mirror = mirror
        self._obeyed = self._seen = NOTHING
        """The highest (generation, sequence) that an agent obeys, that another controller has seen, and that the mirror
        did not show then."""
        self._lacking = NOTHING
        """The last claim of a key's write that the mirror went past, and does not know."""
        self._warned_since = self._warned_at = float("-inf")
        """Loop time: since when, and until when, others have said that the store was rolled back."""
        self._proved = NOTHING
        """What proves that two writes were stored at one place."""
        self._claimed = asyncio.Event()
        self._contradicted_since: float | None = None
        """Loop time since which each look, without a long break, found that."""
        self._looked_at = 0.0

    @property
    def unsure_since(self) -> float | None:
        """Loop time since which it is doubtful whether all is known here; None: it is not."""
        warned = asyncio.get_running_loop().time() - self._warned_at <= WARNED_FOR
        known = [self._warned_since if warned else None, self.doubtful_since]
        return min((each for each in known if each is not None), default=None)

    @property
    def proven(self) -> bool:
        """Whether two writes at one place have proved it: it stays so until it is made anew, however long it grows."""
        return self._proved is not NOTHING

    def hear_stored(self, what: str, first: int, seen: int, own: int = 0) -> None:
        """`what` was stored at `first`, sent when the mirror showed the store up to `seen`, and this controller had
        written up to `own`. In a store that is not an older one it stands after both."""
        if first <= max(seen, own):
            self.prove(f"{what} was stored at {first}, this controller has seen {max(seen, own)} before")
        if first <= seen:
            self._mirror.state.distrust(self._mirror.trouble or self.rolled_back)

    def prove(self, why: str) -> None:
        """Two writes were stored at one place."""
        mesh = self._mirror.records.mesh
        self._proved = _Claim(mesh.generation if mesh else 0, 0, why)
        self._claimed.set()
        self._judge(why)

    def hear_node(self, node: str, obeys: tuple[int, int]) -> None:
        """A node says which (generation, sequence) it obeys."""
        if self._goes_beyond(obeys):
            self._obeyed = max(self._obeyed, _Claim(*obeys, f"node {node} obeys"))

    def hear_controller(self, beat: ControllerBeat) -> None:
        """A controller says how far it is, and what the store lacks of that.

        Only of this generation: a higher one may come of the data directory of a mesh that was here before.
        """
        mesh, said = self._mirror.records.mesh, f"controller {beat.name} has seen"
        if mesh is None or (beat.mesh_id, beat.generation) != (mesh.mesh_id, mesh.generation):
            return
        if beat.distrusts.startswith("store.rolled_back") and beat.name != self._own:
            self._warn(beat.name, beat.distrusts)
        if self._goes_beyond((beat.generation, beat.sequence)):
            self._seen = max(self._seen, _Claim(beat.generation, beat.sequence, said))
        if beat.lacks and (self._mirror.records.sequence_of(beat.lacks) or 0) < beat.lacks_at:
            self._lacking = _Claim(beat.generation, beat.lacks_at, said, beat.lacks)
            self._claimed.set()

    def hear_rival(self, beat: LeaderBeat) -> None:
        """Another one leads the own epoch. One of both takeovers was lost: no store takes two writes at one place."""
        mesh = self._mirror.records.mesh
        if mesh is not None and (beat.mesh_id, beat.generation) == (mesh.mesh_id, mesh.generation):
            self.prove(f"controller {beat.holder} leads epoch {beat.epoch}, too")

    def _warn(self, name: str, why: str) -> None:
        """Somebody may know what can't be seen in the store any more."""
        now = asyncio.get_running_loop().time()
        if now - self._warned_at > WARNED_FOR:
            self._warned_since = now
            log.warning("store.distrusted", by=name, why=why)
        self._warned_at = now

    def _goes_beyond(self, pair: tuple[int, int]) -> bool:
        mesh = self._mirror.records.mesh
        beyond = mesh is not None and pair > (mesh.generation, self._mirror.sequence)
        if beyond or self.rolled_back:
            self._claimed.set()
        return beyond

    async def run(self) -> None:
        """Whenever there is a claim, and while there is doubt, ask the stream's leader; for ever."""
        while True:
            await self._asked_for()
            try:
                proof = await self._beyond(self._obeyed)
                doubt = await self._beyond(self._seen) or await self._unknown(self._lacking) or await self._shorter()
            except MeshError:
                await asyncio.sleep(RETRY)
                self._claimed.set()
                continue
            certain = self._certain(doubt)
            self._judge(self._still_proved() or proof or certain)
            await asyncio.sleep(PAUSE)

    def _still_proved(self) -> str:
        """Why it is an older one, by two writes at one place; "": it was made anew since, or nothing is proved."""
        mesh = self._mirror.records.mesh
        if mesh is not None and mesh.generation > self._proved.generation:
            self._proved = NOTHING
        return self._proved.said

    async def _asked_for(self) -> None:
        """Until there is something to look at."""
        claimed = False
        while not claimed:
            in_doubt = self.doubtful_since is not None
            with suppress(TimeoutError):
                async with asyncio.timeout(RECHECK if in_doubt else LOOK_EVERY):
                    claimed = await self._claimed.wait()
            claimed = claimed or in_doubt or self._mirror.state.extent.went_back
        self._claimed.clear()

    async def _shorter(self) -> str:
        """Why the store ends before what this controller was told; "": it does not."""
        state = self._mirror.state
        if state.extent.went_back:
            await state.ask()
        return state.extent.shrunk

    async def _beyond(self, claim: _Claim) -> str:
        """Why the store ends before what is claimed; "": it does not."""
        if claim is NOTHING:
            return ""
        info = await self._mirror.state.ask()  # after the claim: what is written meanwhile is no contradiction
        ends = (await self._generation(claim), info.last)
        return f"{claim.said} {claim.pair}, the store ends at {ends}" if claim.pair > ends else ""

    async def _unknown(self, claim: _Claim) -> str:
        """Why the store holds a key as it was before the write that is claimed; "": it does not."""
        if claim is NOTHING or await self._generation(claim) > claim.generation:
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

    def _certain(self, doubt: str) -> str:
        """`doubt`, once it has been found at every look for so long; "" before."""
        now = asyncio.get_running_loop().time()
        if not doubt:
            self.doubtful_since = self._contradicted_since = None
            return ""
        if self.doubtful_since is None:
            self.doubtful_since = now
        if self._contradicted_since is None or now - self._looked_at > RETRY + 3 * RECHECK:
            self._contradicted_since = now
        self._looked_at = now
        return doubt if now - self._contradicted_since >= SURE_AFTER else ""

    def _judge(self, why: str) -> None:
        if why and not self.rolled_back:
            log.error("store.rolled_back", why=why)
        elif self.rolled_back and not why:
            log.info("store.recovered")
            self._mirror.mark(Dirty(everything=True))
        self.rolled_back = f"store.rolled_back: {why}" if why else ""
