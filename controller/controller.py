"""A whole controller on a bus: everything built and passed down, one task group over all of it.

`run` ends by `stop` (a hand-over) or with an error; whatever else ends in it is an error.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Iterator

import structlog

from bus.port import Bus
from controller.api.desk import Desk
from controller.api.server import Server
from controller.config import Config
from controller.elector import Elector
from controller.hearing import Hearing
from controller.highest import Memory
from controller.janitor import Janitor
from controller.leader import Leader
from controller.mirror import Mirror
from controller.namesakes import Namesakes
from controller.seat import Planner, Seat
from controller.standing import Office
from controller.streamtime import StreamTime
from controller.teller import Teller
from schemas import subjects
from schemas.clock import Clock
from schemas.errors import Conflict, MeshError
from schemas.liveness import CONTROLLER_PERIOD, ControllerBeat
from schemas.wire import encode

HAND_OVER_WITHIN = 1.5
"""Seconds; a store that does not answer in time is left as it is: the others take over from silence."""

log = structlog.get_logger()


class Stopped(Exception):
    """The controller was asked to stop and has handed over."""


class Controller:
    """One controller. It is built inside a running loop."""

    def __init__(
        self, config: Config, bus: Bus, *, clock: Clock, rng: random.Random, memory: Memory, plan: Planner
    ) -> None:
        self.config = config
        self.bus = bus
        self.mirror = Mirror(bus)
        time = StreamTime(clock)
        self.hearing = Hearing(bus, self.mirror, clock, time, config.name)
        self.teller = Teller(self.mirror, bus.events)
        self.leader = Leader(Seat(config.name, bus, self.mirror, self.hearing, self.teller, clock, time, plan))
        office = Office(config.name, bus, self.mirror, clock, rng, memory)
        self.elector = Elector(office, self._reign, lambda: self.hearing.suspicion.rolled_back)
        self.elector.on_own_beat = self.hearing.own_beat
        self.elector.on_rival = self.hearing.suspicion.hear_rival
        self.desk = Desk(
            name=config.name,
            bus=bus,
            mirror=self.mirror,
            hearing=self.hearing,
            leader=self.leader,
            elector=self.elector,
            clock=clock,
            rng=rng,
            version=config.version,
            hostname=config.hostname,
        )
        self.namesakes = Namesakes(config.name, f"{rng.getrandbits(64):016x}", clock)
        self.hearing.on_controller = self.namesakes.heard
        self._memory = memory
        self._stopping = asyncio.Event()

    @property
    def leads(self) -> bool:
        """Whether it leads, as far as it knows."""
        return self.elector.leads

    async def run(self) -> None:
        """Take part until `stop`.

        Raises:
            Conflict: an older one of the same name runs.
            BadMessage: what was remembered is no such thing (`controller.highest`).
        """
        await self._memory.load()
        log.info("controller.started", name=self.config.name, version=self.config.version)
        refusal: Conflict | None = None
        try:
            async with asyncio.TaskGroup() as group:
                for name, work in (
                    ("mirror", self.mirror.run()),
                    ("hearing", self.hearing.run()),
                    ("presence", self._say_here()),
                    ("api", Server(self.desk).run()),
                    ("namesakes", self.namesakes.run()),
                    ("stop", self._until_stopped()),
                ):
                    group.create_task(_for_ever(name, work), name=name)
                group.create_task(self.elector.run(), name="elector")
        except* Stopped:
            log.info("controller.stopped", name=self.config.name)
        except* Conflict as conflicts:
            refusal = next(error for error in _leaves(conflicts) if isinstance(error, Conflict))
        if refusal is not None:
            log.error("controller.refused", name=self.config.name, why=refusal.message)
            raise refusal

    def stop(self) -> None:
        """Hand over and end; callable from a signal handler."""
        self._stopping.set()

    async def _until_stopped(self) -> None:
        await self._stopping.wait()
        try:
            async with asyncio.timeout(HAND_OVER_WITHIN):
                await self.elector.hand_over()
        except TimeoutError:
            log.warning("leadership.not_handed_over", name=self.config.name, why="the store does not answer")
        raise Stopped

    async def _reign(self, epoch: int) -> None:
        """Rounds, with the janitor beside them. Raises `controller.elector.Fenced`."""
        failure: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(Janitor(self.desk).run(), name="janitor")
                group.create_task(self.leader.reign(epoch), name="leader")
        except BaseExceptionGroup as errors:
            failure = errors.exceptions[0] if len(errors.exceptions) == 1 else errors
        if failure is not None:
            raise failure

    async def _say_here(self) -> None:
        while True:
            mesh = self.mirror.records.mesh
            beat = ControllerBeat(
                name=self.config.name,
                mesh_id=mesh.mesh_id if mesh else "",
                leads=self.leads,
                epoch=self.elector.election.epoch,
                sequence=self.mirror.sequence,
                generation=self.elector.highest().generation,
                rounds=self.leader.rounds if self.leads else 0,
                hostname=self.config.hostname,
                version=self.config.version,
                trouble=self.leader.frozen or self.elector.trouble,
                distrusts=self.leader.frozen,
                lacks=self.mirror.lacks[0],
                lacks_at=self.mirror.lacks[1],
                instance=self.namesakes.instance,
                age=self.namesakes.age,
            )
            try:
                await self.bus.core.publish(subjects.controller(self.config.name), encode(beat))
            except MeshError:
                log.debug("presence.unsent")
            await asyncio.sleep(CONTROLLER_PERIOD)


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        yield from _leaves(error) if isinstance(error, BaseExceptionGroup) else (error,)


async def _for_ever(name: str, work: Awaitable[None]) -> None:
    """Run what must not end; its end is an error, since a TaskGroup would not notice."""
    await work
    raise RuntimeError(f"{name} ended by itself")
