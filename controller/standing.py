"""One try to take over: a compare-and-set on the epoch with a nonce in it, on a store that may be led; and giving away.

When its outcome is unknown the stream's leader is read until the nonce tells. Whether and when to try is decided in
`controller.election`. What is compared is the record's sequence, what is told the epoch's number: they differ where a
leader has renewed its fence (`bus.writer`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

from bus.commits import Busy, Committed, Conflicted, Outcome, Put, Unknown
from bus.port import Bus, Entry
from controller import election as rules
from controller.election import Input
from controller.highest import Highest, Memory, refusal
from controller.mirror import Mirror
from schemas import subjects
from schemas.clock import Clock
from schemas.errors import BadMessage, Refused, StoreMissing
from schemas.records import EpochRecord, MeshRecord
from schemas.wire import decode, encode

STAND_TRIES = 20
"""Tries at one takeover, or hand-over, while the server is busy with others' writes."""


@dataclass(frozen=True)
class Office:
    """What an elector works with."""

    name: str
    bus: Bus
    mirror: Mirror
    clock: Clock
    rng: random.Random
    memory: Memory


class Candidate:
    """One controller that may stand. `barred`: why it does not; asked before each try, "" is fine.

    `highest`: the furthest end of this mesh's store that was ever seen here.
    """

    def __init__(self, office: Office, barred: Callable[[], str], highest: Callable[[], Highest]) -> None:
        self._office = office
        self._barred = barred
        self._highest = highest

    async def may_stand(self) -> MeshRecord:
        """The store's identity. Raises StoreMissing, Refused (this store may not be led) or Unreachable."""
        follower, seen = self._office.mirror.state, self._highest()  # what comes while it is asked is no older store
        info = await follower.ask()
        entry = await self._office.bus.state.read(subjects.MESH)
        if entry is None or entry.value is None:
            raise StoreMissing("the state stream holds no `mesh` record: nothing is created in its place")
        mesh = decode(entry.value, MeshRecord)
        end = Highest(mesh_id=mesh.mesh_id, generation=mesh.generation, sequence=info.last)
        shrunk = f"store.rolled_back: {follower.extent.shrunk}" if follower.extent.went_back else ""
        why = refusal(seen, end) or self._office.mirror.trouble or self._barred() or shrunk
        if why:
            raise Refused(why)
        return mesh

    async def take(self, mesh: MeshRecord, known: int) -> Input:
        """Try to take over after epoch `known`; what came of it. Raises Unreachable."""
        entry = await self._office.bus.state.read(subjects.EPOCH)
        number, holder = epoch_in(entry)
        if number > known and holder not in ("", self._office.name):
            return rules.Lost(number, holder)
        nonce = f"{self._office.rng.getrandbits(64):016x}"
        record = EpochRecord(mesh_id=mesh.mesh_id, holder=self._office.name, nonce=nonce, why=self._reason(holder))
        write = Put(subjects.EPOCH, encode(record), expected=entry.sequence if entry else 0)
        for _ in range(STAND_TRIES):
            outcome = await self._office.bus.state.commit([write])
            if isinstance(outcome, Busy):
                await asyncio.sleep(0.01)
            elif isinstance(outcome, Committed):
                return rules.Won(outcome.sequence)
            elif isinstance(outcome, Unknown):
                return await self._look(nonce)
            else:
                break
        return rules.Lost(*epoch_in(await self._office.bus.state.read(subjects.EPOCH)))

    async def give_away(self, epoch: int) -> Outcome:
        """Have nobody lead after the own epoch: the record's new sequence fences the own writes off, too.

        A conflict may come of a renewed fence that the mirror does not show yet.
        """
        records = self._office.mirror.records
        mesh_id = records.mesh.mesh_id if records.mesh else ""
        value = encode(EpochRecord(mesh_id=mesh_id, holder="", nonce="", why="handed over"))
        outcome: Outcome = Busy()
        for _ in range(STAND_TRIES):
            stands_at = records.sequence_of(subjects.EPOCH) if records.epoch[0] == epoch else None
            outcome = await self._office.bus.state.commit([Put(subjects.EPOCH, value, expected=stands_at or epoch)])
            if not isinstance(outcome, Busy | Conflicted):
                break
            await asyncio.sleep(0.01)
        return outcome

    def _reason(self, holder: str) -> str:
        if holder in ("", self._office.name):
            return "nobody led"
        return f"nothing was heard of {holder}"

    async def _look(self, nonce: str) -> Input:
        """The takeover's outcome is unknown: the nonce tells. Raises Unreachable."""
        entry = await self._office.bus.state.read(subjects.EPOCH)
        record = _epoch_record(entry)
        if entry is not None and record is not None and record.nonce == nonce:
            return rules.Won(entry.sequence)
        return rules.Lost(*epoch_in(entry))


def epoch_in(entry: Entry | None) -> tuple[int, str]:
    """The epoch that an entry of `election.epoch` tells of, and who holds it: "" is nobody. (0, ""): there is none."""
    if entry is None:
        return 0, ""
    record = _epoch_record(entry)
    return (record.number(entry.sequence), record.holder) if record else (entry.sequence, "")


def _epoch_record(entry: Entry | None) -> EpochRecord | None:
    try:
        return decode(entry.value, EpochRecord) if entry is not None and entry.value is not None else None
    except BadMessage:
        return None
