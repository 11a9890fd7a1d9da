"""What befalls the store in a story of chaos: one thing at a time, and then people make it anew.

In a patient story (`PATIENT`) it goes while the mesh is at rest, the backup is an old one, and people take their time:
agents start anew meanwhile, and look at what there is.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from controller.controller import Controller
from schemas.backup import Backup
from schemas.errors import MeshError
from tests.sim.intent import of_stream
from tests.sim.stores import back_up, lose_all_but_the_stream, lose_store, recover, roll_back
from tests.sim.world import World

PATIENT = 3
"""One story of so many."""

RESTS_WITHIN = 15.0
"""Virtual seconds for which a patient story waits until nothing is under way."""

RESTARTS_EVERY = 6.0
"""Seconds between two agents that start anew while people take their time."""


def _trouble(controller: Controller) -> str:
    return controller.leader.frozen


class StoreStory:
    """Loses the store, and makes it anew."""

    def __init__(self, world: World, rng: random.Random, *, patient: bool = False) -> None:
        self.world = world
        self.rng = rng
        self.patient = patient
        self._busy = asyncio.Lock()
        self._backup: Backup | None = None

    @property
    def acts(self) -> tuple[Callable[[], Awaitable[None]], ...]:
        """What may happen; more often what stands here more often."""
        return (self.lost, self.rolled_back, self.rolled_back if self.patient else self.lost)

    async def lost(self) -> None:
        """The stream is gone, or there is an empty one in its place."""
        if self._busy.locked():
            return
        async with self._busy:
            await self._keep()
            await self._wait(0, 15)
            if self.patient and self.rng.random() < 0.3:
                self.world.say("the store is an empty one")
                lose_all_but_the_stream(self.world)
            else:
                self.world.say("the store is lost")
                lose_store(self.world)
            await self._mourn()

    async def rolled_back(self) -> None:
        """The stream is as it was some time ago."""
        if self._busy.locked():
            return
        async with self._busy:
            await self._keep()
            checkpoint = self.world.broker.checkpoint()
            await self._wait(1, 20)
            self.world.say("the store is rolled back")
            roll_back(self.world, checkpoint)
            await self._mourn()

    async def mend(self) -> None:
        """The end of it: every controller has found the store again, and each node is a member."""
        async with self._busy:
            world = self.world
            await world.until(lambda: not any(map(_trouble, world.controllers.values())), 30, "the store is found")
            await world.until(lambda: all(map(self._all_known, world.controllers.values())), 30, "all have joined")

    def _all_known(self, controller: Controller) -> bool:
        return self.world.nodes.keys() <= controller.mirror.records.nodes.keys()

    async def _keep(self) -> None:
        if self._backup is None or self.rng.random() < (0.2 if self.patient else 0.5):
            try:
                self._backup = await back_up(self.world)
                self.world.say(f"backup at {self._backup.head.sequence}")
            except MeshError as error:
                self.world.say(f"  backup: {error.code}")

    async def _wait(self, least: float, most: float) -> None:
        """Until it goes; in a patient story something has been done since the backup, and nothing is under way."""
        await asyncio.sleep(self.rng.uniform(least, most) + (5.0 if self.patient else 0.0))
        until = self.world.now + (RESTS_WITHIN if self.patient else 0.0)
        while self.world.now < until and not self._rests():
            await asyncio.sleep(0.25)

    def _rests(self) -> bool:
        intent = of_stream(self.world.broker.state.stream)
        return all(map(intent.answered, intent.services))

    async def _mourn(self) -> None:
        if self.patient:
            await self._take_time(self.rng.uniform(10, 60))
        else:
            await asyncio.sleep(self.rng.uniform(0, 25))
        with_backup = self.rng.random() < (0.8 if self.patient else 0.6)
        self.world.say(f"state recover ({'with' if with_backup else 'without'} a backup)")
        recovery = await recover(self.world, self._backup if with_backup else None)
        self.world.say(f"generation {recovery.mesh.generation}, {len(recovery.warnings)} warnings")

    async def _take_time(self, seconds: float) -> None:
        """Agents that start, and those whose line was cut, fetch what there is."""
        until = self.world.now + seconds
        while self.world.now < until:
            await asyncio.sleep(min(self.rng.expovariate(1 / RESTARTS_EVERY), until - self.world.now))
            name = self.rng.choice(sorted(self.world.nodes))
            node = self.world.nodes[name]
            if not (node.powered and node.agent_runs) or node.stopped or node.cut:
                continue
            self.world.say(f"agent {name} starts anew")
            if self.rng.random() < 0.7:
                self.world.crash_agent(name)
                self.world.start_agent(name)
            else:
                self.world.cut(name)
                await asyncio.sleep(1.0)
                self.world.plug(name)
