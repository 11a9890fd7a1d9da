"""The state stream is lost or is an older one again, and people make it anew: with the code that meshctl runs.

While the store is not what it was, no container may be stopped but those whose end was asked for before (`Guarded`).
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

from bus.memory_stream import MemoryStream
from controller.controller import Controller
from meshctl.backup import take_backup
from meshctl.recovery import Recovery, plan_recovery
from meshctl.restoring import laggards, look_around, restore_store
from schemas.assignment import Assignment
from schemas.backup import Backup, read_backup, write_backup
from schemas.errors import MeshError, StoreMissing
from schemas.wire import decode
from tests.sim.intent import Intent, of_backup, of_stream
from tests.sim.running_on import watch
from tests.sim.world import World

LAGGARDS_PATIENCE = 30.0
"""Seconds; as `meshctl state recover` has it."""


@dataclass
class Guarded:
    """Containers that must not be stopped now: their tasks were to run when the store went."""

    since: float
    truth: Intent
    """What the store wanted then."""
    containers: dict[str, str] = field(default_factory=dict)
    """Id -> node."""
    hung: dict[str, float] = field(default_factory=dict)
    """Node -> when its engine was last seen hanging since: what it was told before, it does afterwards."""


def guard(world: World) -> None:
    """From now on nothing that is to run may be stopped."""
    stream = world.broker.state.stream
    guarded = Guarded(world.now, of_stream(stream))
    for name, node in sorted(world.nodes.items()):
        entry = stream.get(f"desired.{name}") if stream is not None else None
        if entry is None or entry.value is None:
            continue
        assignment = decode(entry.value, Assignment)
        to_run = {task.id for task in assignment.tasks if task.desired == "running"}
        for life in node.live():
            if life.view.labels["mesh.service"] in world.alone:
                continue  # without a store nobody's lease is renewed
            if life.view.labels["mesh.task"] in to_run and life.view.id not in node.engine.stopped:
                guarded.containers[life.view.id] = name
    if world.guarded is None:
        world.guarded = guarded


async def back_up(world: World) -> Backup:
    """What `meshctl backup` writes, read again."""
    return read_backup(write_backup(await take_backup(world.operator, world.operator_clock)))


def lose_store(world: World) -> None:
    """The state stream is gone."""
    guard(world)
    world.broker.lose_store()


def roll_back(world: World, checkpoint: MemoryStream) -> None:
    """The state stream is an older one again. Where nothing was stored since, it is what it was: the leader goes on."""
    stream = world.broker.state.stream
    if stream is None or stream.last > checkpoint.last:
        guard(world)
    world.broker.roll_back(checkpoint)
    world.rolled_back_at = world.now


async def recover(world: World, backup: Backup | None, *, rebuild: bool = True, patience: float = 120.0) -> Recovery:
    """`meshctl state recover --apply` (or `restore`), again and again while the bus does not let it."""
    deadline = world.now + patience
    truth = world.guarded.truth if world.guarded is not None else of_stream(world.broker.state.stream)
    while True:
        try:
            base = backup
            if base is None and world.broker.state.stream is not None:
                base = await _left(world)
            found = await look_around(world.operator, base)
            recovery = plan_recovery(base, found, rebuild=rebuild, why="a test", now=world.operator_clock.wall())
            views = found.views
            world.running_on = watch(world, truth, of_backup(base), found, rebuild=rebuild)
            sequence = await restore_store(world.operator, lambda first: _recreate(world, first), recovery, views)
        except MeshError as error:
            world.say(f"  recover: {error.code} {error.message}")
            if world.now > deadline:
                raise
            await asyncio.sleep(1.0)
        else:
            world.guarded, world.restored = None, True
            await laggards(world.operator, sequence, LAGGARDS_PATIENCE)
            return recovery


async def _left(world: World) -> Backup | None:
    try:
        return await take_backup(world.operator, world.operator_clock)
    except StoreMissing:
        return None


async def _recreate(world: World, first: int) -> bool:
    world.broker.state.replace(MemoryStream(last=first - 1, first=first, created=str(first)))
    lost = world.broker.observed.stream is None
    if lost:
        world.broker.observed.replace(MemoryStream(created=str(first)))
    return lost


def _trouble(controller: Controller) -> str:
    return controller.leader.frozen


class StoreStory:
    """What befalls the store in a story of chaos: one thing at a time, and then people make it anew."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self.world = world
        self.rng = rng
        self._busy = asyncio.Lock()
        self._backup: Backup | None = None

    async def lost(self) -> None:
        """The stream is gone."""
        if self._busy.locked():
            return
        async with self._busy:
            await self._keep()
            await asyncio.sleep(self.rng.uniform(0, 15))
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
            await asyncio.sleep(self.rng.uniform(1, 20))
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
        if self._backup is None or self.rng.random() < 0.5:
            try:
                self._backup = await back_up(self.world)
                self.world.say(f"backup at {self._backup.head.sequence}")
            except MeshError as error:
                self.world.say(f"  backup: {error.code}")

    async def _mourn(self) -> None:
        await asyncio.sleep(self.rng.uniform(0, 25))
        with_backup = self.rng.random() < 0.6
        self.world.say(f"state recover ({'with' if with_backup else 'without'} a backup)")
        recovery = await recover(self.world, self._backup if with_backup else None)
        self.world.say(f"generation {recovery.mesh.generation}, {len(recovery.warnings)} warnings")
