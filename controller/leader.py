"""The leader's loop: observe -> plan -> commit.

It begins with snapshots that show the own epoch. A round decides from what the mirror shows; the next begins when the
mirror shows what the last one stored, or, where the outcome is unknown, what became of it (`controller.storing`). While
the store is not to be trusted nothing is decided, nor before a look at it where it has shown nothing for a while
(`controller.proof`).
"""

from __future__ import annotations

import asyncio

import structlog
from msgspec.structs import replace

from bus.commits import Committed, Fence, Outcome, Put
from bus.writer import Writer
from controller.changes import Plan
from controller.committing import fitting, still_too_large, too_large_alarms, writes_of
from controller.confirming import Confirmer
from controller.elector import Fenced
from controller.proof import Proof
from controller.readopting import Readopter
from controller.seat import Seat
from controller.storing import Storing
from controller.world import Dirty, World
from schemas.clock import iso
from schemas.events import Event
from schemas.records import EpochRecord, Reason
from schemas.wire import encode

log = structlog.get_logger()

GATHER = 0.01
"""Seconds for which more that happens at once may come into one round."""

LONGEST_PAUSE = 1.0
"""Deciding takes at most half of the process's time: after a round the others get as long, up to so many seconds."""

RETRY = 0.2

CURSOR_EVERY = 5.0
"""Seconds at most between an event being told and the cursor saying so."""


class Leader:
    """One controller's rounds, over all its reigns."""

    def __init__(self, seat: Seat) -> None:
        self.rounds = 0
        """Rounds with changes since the takeover."""
        self.alarms: tuple[Reason, ...] = ()
        self.settled = asyncio.Event()
        """Set after each round: what it answered may be cleared away."""
        self.answered: dict[str, int] = {}
        """Orders (id -> sequence) that a settled round has seen."""
        self._seat = seat
        self._epoch = 0
        self._minted = 0
        self._took_over = 0.0
        self._wake_at: float | None = None
        self._too_large: dict[str, int] = {}
        """Key -> bytes of records that were left out, because no store would take them."""
        self._faults: dict[str, str] = {}
        """Service -> why deciding about it failed in the last round."""
        self._cursor_due = 0.0
        self._proof = Proof(seat)
        self._storing = Storing(seat, self._proof, self._refused)
        self._writer = Writer(seat.bus.state)

    @property
    def frozen(self) -> str:
        """Why nothing may be decided on this store; "" if all is well."""
        return self._seat.frozen

    async def reign(self, epoch: int) -> None:
        """Lead until cancelled. Raises `controller.elector.Fenced`."""
        self._epoch, self._minted, self.rounds = epoch, 0, 0
        self._storing.epoch = epoch
        self.alarms, self._wake_at, self._too_large = (), None, {}
        self.answered.clear()
        deposed = False
        try:
            record = await self._observe()
            self._writer = Writer(self._seat.bus.state, Fence(epoch), encode(replace(record, since=epoch)))
            self._proof.begin(self._writer.submit, epoch)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._writer.run(), name="writer")
                group.create_task(self._seat.teller.run(), name="teller")
                group.create_task(self._rounds(), name="rounds")
                group.create_task(self._watch_store(), name="watch store")
                group.create_task(self._readopter().run(), name="readopter")
                group.create_task(Confirmer(self._seat, self._proof.submit, epoch).run(), name="leases")
        except* Fenced:
            deposed = True
        finally:
            self._seat.hearing.end()
        if deposed:
            raise Fenced

    def _readopter(self) -> Readopter:
        seat = self._seat
        return Readopter(seat.bus, seat.mirror, seat.hearing, self._storing, self.world)

    def world(self) -> World:
        """What is known now."""
        records, hearing = self._seat.mirror.records, self._seat.hearing
        return World(
            epoch=self._epoch,
            generation=records.mesh.generation if records.mesh else 1,
            took_over=self._took_over,
            services=records.services,
            revisions=records.revisions,
            stacks=records.stacks,
            stack_good=records.stack_good,
            nodes=records.nodes,
            assignments=records.assignments,
            observations=self._seat.mirror.observations,
            rollouts=records.rollouts,
            liveness=records.liveness,
            orders=records.orders,
            networks=records.networks,
            allocations=records.allocations,
            endpoints=records.endpoints,
            publish=records.publish,
            brake=records.brake,
            rebalance=records.rebalance,
            heard=hearing.heard(),
            hearing_since=hearing.hearing_since(),
            unseen_since=self._seat.unseen_since,
            nodes_total=sum(not stored.record.removed for stored in records.nodes.values()),
            minted=self._minted,
        )

    async def _observe(self) -> EpochRecord:
        """Snapshots that show the own epoch; stream time starts there. Raises Fenced: they show another, or none."""
        seat = self._seat
        await self._storing.resync("takeover", self._epoch)
        while seat.mirror.state.trouble:
            await asyncio.sleep(RETRY)
            await self._storing.resync("takeover", self._epoch)
        number, record = seat.mirror.records.epoch
        if record is None or number != self._epoch:
            raise Fenced
        seat.time.set(seat.mirror.records.at)
        self._took_over = seat.time.now()
        seat.hearing.begin(self._epoch)
        log.info("leader.observed", epoch=self._epoch, sequence=seat.mirror.sequence)
        return record

    # rounds

    async def _rounds(self) -> None:
        while True:
            await self._wait()
            if self.frozen:
                await asyncio.sleep(RETRY)
                continue
            try:
                if not await self._proof.holds():
                    await asyncio.sleep(RETRY)
                    continue
                async with self._storing.turn:
                    planning = await self._round()
                await asyncio.sleep(min(planning, LONGEST_PAUSE))
            except Fenced:
                raise
            except Exception:
                log.exception("round.failed", epoch=self._epoch)
                await asyncio.sleep(1.0)
                self._seat.mirror.mark(Dirty(everything=True))

    async def _wait(self) -> None:
        """Until something is dirty, or time alone asks for a decision."""
        wait = CURSOR_EVERY if self._wake_at is None else min(CURSOR_EVERY, self._seat.time.until(self._wake_at))
        try:
            async with asyncio.timeout(wait):
                await self._seat.mirror.wake.wait()
        except TimeoutError:
            return
        await asyncio.sleep(GATHER)

    async def _watch_store(self) -> None:
        """Say it when the store is not to be trusted, and when it is again."""
        seat, said = self._seat, ""
        while True:
            await asyncio.sleep(RETRY)
            if self.frozen == said:
                continue
            said = self.frozen
            code, _, why = (said or "store.recovered: ").partition(": ")
            log.error("leader.froze", epoch=self._epoch, why=said) if said else log.info("leader.thawed")
            seat.mirror.mark(Dirty(everything=True))
            at = seat.clock.wall()
            event = Event(id=f"{code}@{self._epoch}/{at:.3f}", kind=code, at=iso(at), epoch=self._epoch, why=why)
            await seat.teller.tell(event)

    async def _round(self) -> float:
        """One round; the seconds that its planning kept everything else in this process waiting. Raises Fenced."""
        seat = self._seat
        dirty = seat.mirror.take_dirty()
        started, now = seat.clock.monotonic(), seat.time.now()
        world = self.world()
        orders = {name: stored.sequence for name, stored in world.orders.items()}
        plan = seat.plan(world, dirty, now)
        planned = seat.clock.monotonic()
        self._minted, self._wake_at = max(self._minted, plan.minted), plan.wake_at
        writes, too_large = fitting(writes_of(plan.changes, seat.mirror.records.assignments))
        self._too_large = still_too_large(self._too_large, writes) | too_large
        self._tell_faults(plan)
        self.alarms = (*plan.alarms, *too_large_alarms(self._too_large))
        cursor = self._cursor()
        if cursor is not None and (writes or now >= self._cursor_due):
            self._cursor_due = now + CURSOR_EVERY
            writes.append(cursor)
        if writes:
            with seat.hearing.pending.under_way():
                sent = seat.clock.monotonic()
                outcome = await self._storing.store(writes)
                if seat.hearing.suspicion.proven:
                    return planned - started
                if isinstance(outcome, Committed):
                    seat.hearing.confirmed(sent)
                    self._proof.shown(sent)
                self._tell_round(plan, dirty, outcome, (planned - started, seat.clock.monotonic() - planned))
                if not await self._storing.settle(outcome):
                    return planned - started
        self.answered.update({name: at for name, at in orders.items() if name not in plan.open_orders})
        self.settled.set()
        return planned - started

    def _tell_faults(self, plan: Plan) -> None:
        """Each failure once in the log, with its traceback; the service's rollout record and the alarms tell it on."""
        told, self._faults = self._faults, {fault.service: fault.error for fault in plan.faults}
        for fault in plan.faults:
            if told.get(fault.service) != fault.error:
                log.error("round.left_out", service=fault.service, why=fault.error, traceback=fault.traceback)

    def _tell_round(self, plan: Plan, dirty: Dirty, outcome: Outcome, took: tuple[float, float]) -> None:
        if not plan.changes:
            return
        self.rounds += 1
        log.info(
            "round.committed" if isinstance(outcome, Committed) else "round.uncommitted",
            epoch=self._epoch,
            round=self.rounds,
            sequence=outcome.sequence if isinstance(outcome, Committed) else 0,
            outcome=type(outcome).__name__,
            dirty=f"{len(dirty.services)} services, {len(dirty.nodes)} nodes{', everything' * dirty.everything}",
            changes=[change.describe() for change in plan.changes[:10]],
            more=max(0, len(plan.changes) - 10),
            plan_ms=round(took[0] * 1000, 1),
            commit_ms=round(took[1] * 1000, 1),
        )

    def _refused(self, why: str) -> None:
        """The store has no room; the next round says its alarms anew."""
        self.alarms = (*(each for each in self.alarms if each.text != why), Reason(text=why))

    def _cursor(self) -> Put | None:
        """The cursor, if events were told since it was written."""
        if self._seat.teller.told <= self._seat.mirror.records.cursor.sequence:
            return None
        return self._seat.cursor_write()
