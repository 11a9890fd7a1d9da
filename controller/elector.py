"""The election's shell: listens, stands, beats while leading. What to do is decided in `controller.election`.

A takeover is one compare-and-set (`controller.standing`). While leading, "I lead" goes out every `LEADER_PERIOD`, and
rounds run (`reign`); both end together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from bus.users import controller_user
from controller import election as rules
from controller.election import Election, Input
from controller.highest import Highest, refusal
from controller.records import Seen
from controller.standing import Candidate, Office
from schemas import subjects
from schemas.errors import BadMessage, MeshError, Unreachable
from schemas.liveness import LEADER_PERIOD, LEADER_SILENCE, LeaderBeat
from schemas.records import EpochRecord
from schemas.wire import decode, encode

log = structlog.get_logger()

REMEMBER_EVERY = 1.0
"""Seconds between two looks whether the highest sequence is to be kept anew."""

LINE_AFTER = 0.4
"""Seconds without any "I lead", the own one included, after which the own server is asked (two beats)."""

LINE_LIMIT = 0.3
"""Seconds that it has for that: a leader speaks again elsewhere within 0.8 s, before followers stand (1.0)."""

Reign = Callable[[int], Awaitable[None]]
"""What a leader of that epoch does. Raises `Fenced` when a write was refused; otherwise it runs until cancelled."""


class Fenced(Exception):
    """Another leads: a write of this leader was refused."""


class Over(Exception):
    """The reign has to end."""


class Elector:
    """One controller in the election. `barred`: why it does not stand; asked before each try, "" is fine."""

    def __init__(self, office: Office, reign: Reign, barred: Callable[[], str] = lambda: "") -> None:
        self.on_own_beat: Callable[[], None] = lambda: None
        """Called when the own "I lead" has come back over the bus."""
        self.on_rival: Callable[[LeaderBeat], None] = lambda _: None
        """Called when another one says of the very epoch of this leader that it leads it."""
        self.trouble = ""
        self._office = office
        self._reign = reign
        self._candidate = Candidate(office, barred, self.highest)
        self._remembered = Highest()
        self._heard_at = -LEADER_SILENCE
        """When a beat of the present epoch was last heard."""
        self._line_heard_at = self._now()
        """When any beat was last heard, or the line was last looked at."""
        self._leaving = False
        self._nudged = asyncio.Event()
        self._over = asyncio.Event()
        self._gone = asyncio.Event()
        self._why = ""
        self.election: Election = rules.begin(office.name, self._now(), self._chance())
        office.mirror.listeners.append(self._record_seen)

    @property
    def leads(self) -> bool:
        """Whether this controller leads, as far as it knows."""
        return self.election.role == "leader"

    def leader(self) -> str:
        """Who was heard to lead just now; "" if nobody was."""
        if self.leads:
            return self._office.name
        return self.election.holder if self._now() - self._heard_at < LEADER_SILENCE else ""

    async def run(self) -> None:
        """Take part for ever, or until `hand_over`."""
        self._remembered = await self._office.memory.load()
        async with asyncio.TaskGroup() as group:
            helpers = [
                group.create_task(self._hear_beats(), name="beats"),
                group.create_task(self._hear_cuts(), name="cuts"),
                group.create_task(self._remember(), name="remember"),
                group.create_task(self._mind_the_line(), name="line"),
            ]
            await self._campaign()
            for helper in helpers:
                helper.cancel()

    async def hand_over(self) -> None:
        """Stop: whoever leads says so at once, in the store and over the bus. Returns when `run` is about to end."""
        self._leaving = True
        self._end("this controller stops")
        self._nudged.set()
        await self._gone.wait()

    async def _campaign(self) -> None:
        try:
            while not self._leaving:
                await self._until_due()
                if not self._leaving:
                    await self._check_line()
                self._feed(rules.Tick())
                if self.election.role == "standing":
                    self._feed(await self._stand())
                if self.leads:
                    await self._lead(self.election.epoch)
        finally:
            self._gone.set()

    async def _until_due(self) -> None:
        while not self._leaving and (wait := self.election.due - self._now()) > 0:
            self._nudged.clear()
            try:
                async with asyncio.timeout(wait):
                    await self._nudged.wait()
            except TimeoutError:
                return

    async def _stand(self) -> Input:
        """One try to take over; what came of it."""
        try:
            mesh = await self._candidate.may_stand()
            self.trouble = ""
            if self._leaving:
                return rules.Lost()
            return await self._candidate.take(mesh, self.election.epoch)
        except MeshError as error:
            if not isinstance(error, Unreachable):
                self._trouble(error)
            return rules.Barred()

    # leading

    async def _lead(self, epoch: int) -> None:
        log.info("leadership.taken", epoch=epoch, name=self._office.name)
        if self._leaving:
            self._why = "this controller stops"
        else:
            self._over.clear()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._beat(epoch), name="beat")
                group.create_task(self._govern(epoch), name="reign")
                group.create_task(self._until_over(), name="until over")
        except* Over:
            pass
        log.info("leadership.lost", epoch=epoch, name=self._office.name, why=self._why)
        if self._leaving and self.leads:
            await self._give_away(epoch)

    async def _govern(self, epoch: int) -> None:
        try:
            await self._reign(epoch)
        except Fenced:
            self._feed(rules.Deposed())
            await asyncio.Event().wait()
        raise RuntimeError("a reign ended by itself")

    async def _until_over(self) -> None:
        await self._over.wait()
        raise Over

    async def _beat(self, epoch: int) -> None:
        while True:
            await self._say(epoch)
            await asyncio.sleep(LEADER_PERIOD)

    async def _say(self, epoch: int, *, stepping_down: bool = False) -> None:
        mesh = self._office.mirror.records.mesh
        beat = LeaderBeat(
            holder=self._office.name,
            epoch=epoch,
            mesh_id=mesh.mesh_id if mesh else "",
            generation=mesh.generation if mesh else 1,
            highest=self._office.mirror.sequence,
            stepping_down=stepping_down,
        )
        try:
            await self._office.bus.core.publish(subjects.LEADER, encode(beat))
        except MeshError:
            log.debug("beat.unsent", epoch=epoch)

    async def _give_away(self, epoch: int) -> None:
        """Nobody leads from here on."""
        try:
            said = type(await self._candidate.give_away(epoch)).__name__
        except MeshError as error:  # whoever follows takes over from the epoch as it stands
            said = error.message
        await self._say(epoch, stepping_down=True)
        log.info("leadership.handed_over", epoch=epoch, outcome=said)

    # the own line

    async def _mind_the_line(self) -> None:
        """Where no "I lead" is heard the own server may have stalled: it is asked, and left if it says nothing."""
        while True:
            await asyncio.sleep(LEADER_PERIOD / 2)
            if self._now() - self._line_heard_at >= LINE_AFTER:
                await self._check_line()
                self._line_heard_at = self._now()

    async def _check_line(self) -> None:
        """Only over a line that is live does a silence count."""
        if not await self._office.bus.check_line(LINE_LIMIT):
            return
        self._feed(rules.Moved())
        if self.leads and not self._over.is_set():
            await self._say(self.election.epoch)

    # listening

    async def _hear_beats(self) -> None:
        async with self._office.bus.core.subscribe(subjects.LEADER) as beats:
            async for message in beats:
                try:
                    beat = decode(message.data, LeaderBeat)
                except BadMessage as error:
                    log.warning("message.refused", subject=message.subject, why=error.message)
                    continue
                mesh = self._office.mirror.records.mesh
                if mesh is not None and beat.mesh_id not in ("", mesh.mesh_id):
                    continue
                self._line_heard_at = self._now()
                if self.leads and beat.epoch == self.election.epoch:
                    self.on_own_beat() if beat.holder == self._office.name else self.on_rival(beat)
                if beat.epoch >= self.election.epoch and not beat.stepping_down:
                    self._heard_at = self._now()
                self._feed(rules.BeatHeard(beat.holder, beat.epoch, beat.stepping_down))

    async def _hear_cuts(self) -> None:
        async with self._office.bus.disconnects() as cuts:
            async for message in cuts:
                if message.subject == controller_user(self.election.holder):
                    self._feed(rules.LeaderCut(self.election.holder))

    def _record_seen(self, seen: Seen) -> None:
        if seen.key == subjects.EPOCH and isinstance(seen.new, EpochRecord):
            self._feed(rules.EpochShown(seen.new.holder, seen.new.number(seen.sequence)))
        elif seen.key == subjects.EPOCH and seen.new is None:
            self._feed(rules.Deposed("the store was made anew"))
        elif seen.key == subjects.MESH:
            self.trouble = ""  # that was another store, or another generation of it

    async def _remember(self) -> None:
        while True:
            await asyncio.sleep(REMEMBER_EVERY)
            highest = self.highest()
            if highest != self._remembered:
                self._remembered = highest
                await self._office.memory.keep(highest)

    def highest(self) -> Highest:
        """The furthest end of this mesh's store that was ever seen here."""
        mesh = self._office.mirror.records.mesh
        if mesh is None or self._office.mirror.trouble:
            return self._remembered
        seen = Highest(mesh_id=mesh.mesh_id, generation=mesh.generation, sequence=self._office.mirror.sequence)
        return self._remembered if refusal(self._remembered, seen) else seen

    # the rules

    def _feed(self, event: Input) -> None:
        due = self.election.due
        self.election, actions = rules.step(self.election, event, self._now(), self._chance())
        for action in actions:
            if isinstance(action, rules.StepDown):
                self._end(action.why)
        if self.election.due < due:
            self._nudged.set()

    def _end(self, why: str) -> None:
        self._why = why
        self._over.set()

    def _trouble(self, error: MeshError) -> None:
        if error.message != self.trouble:
            self.trouble = error.message
            log.error("leadership.barred", code=error.code, why=error.message)

    def _now(self) -> float:
        return self._office.clock.monotonic()

    def _chance(self) -> float:
        return self._office.rng.uniform(0, 1)
