"""The state stream is lost or is an older one again, and people make it anew: with the code that meshctl runs.

While the store is not what it was, no container may be stopped but those whose end was asked for before
(`tests.sim.guarding`); what runs when it is made anew runs on (`tests.sim.running_on`).
"""

from __future__ import annotations

import asyncio

from bus.memory_stream import MemoryStream
from meshctl.backup import take_backup
from meshctl.recovery import Found, Recovery, plan_recovery
from meshctl.restoring import laggards, look_around, restore_store
from schemas.backup import Backup, read_backup, write_backup
from schemas.errors import MeshError, StoreMissing
from tests.sim.guarding import guard
from tests.sim.intent import Intent, of_backup, of_stream
from tests.sim.running_on import watch
from tests.sim.world import World

LAGGARDS_PATIENCE = 30.0
"""Seconds; as `meshctl state recover` has it."""


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


def lose_all_but_the_stream(world: World) -> None:
    """It is there, and empty: somebody made it by hand, as nobody should."""
    guard(world)
    world.broker.state.replace(MemoryStream(created="by hand"))


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
            world.guarded, world.restored_at = None, world.now
            world.forgotten |= _forgotten(world, truth, found, recovery)
            await laggards(world.operator, sequence, LAGGARDS_PATIENCE)
            return recovery


def _forgotten(world: World, truth: Intent, found: Found, recovery: Recovery) -> set[str]:
    """Services that run, or will where a machine is off, and that neither the backup nor any agent that answered could
    tell of."""
    known = {record.key.removeprefix("service.") for record in recovery.records if record.key.startswith("service.")}
    held = (view.assignment for view in found.views.values() if view.assignment is not None)
    told = {task.service for each in held for task in each.tasks if task.desired == "running"}
    return {service for service, _ in (*world.live(), *truth.slots)} - known - told


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
