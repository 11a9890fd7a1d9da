"""One seed, one story: people do what they do while machines, links and stores fail; then calm.

The seed acts on what happens and when; the order within the loop stays asyncio's. After the last fault everything is
mended, and within `SETTLE` virtual seconds the mesh must be as it is wanted, and then quiet.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from schemas.errors import MeshError
from schemas.memberapi import UpdateNode
from tests.sim.breakage import Breakage, mend_machines
from tests.sim.invariants import Watchman
from tests.sim.loop import run
from tests.sim.networks import NetworkWatch
from tests.sim.people import People
from tests.sim.processes import ProcessFaults, mend_processes
from tests.sim.promises import PromiseWatch
from tests.sim.settling import quiet, settle
from tests.sim.store_story import PATIENT, StoreStory
from tests.sim.world import World, silence_logs, world_of

STORE_SEEDS = 5
"""One seed of so many tells of a store that is lost, rolled back and made anew, too."""

TROUBLE = 45.0
"""Virtual seconds in which things happen."""

PEOPLE_EVERY, FAULTS_EVERY = 4.0, 5.0
"""Seconds between two of each, in the mean."""

WHOLE = 1200.0
"""Virtual seconds within which a story has ended, however it ends."""

LOOK_EVERY = 0.15
"""Virtual seconds between two looks at all engines."""

Act = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Result:
    """What one seed came to."""

    seed: int
    trace: str
    virtual: float
    said: tuple[str, ...]
    failure: str = ""
    seconds: float = TROUBLE
    """Of trouble, as it was asked for."""


class Story:
    """What happens in one world."""

    def __init__(self, world: World, rng: random.Random, watchman: Watchman, stores: StoreStory | None = None) -> None:
        self._world = world
        self._rng = rng
        self._people = People(world, rng, watchman.note)
        self._stores = stores

    async def run(self, seconds: float) -> None:
        """Things happen, one after the other and over each other."""
        world, rng, people = self._world, self._rng, self._people.acts
        faults = [*ProcessFaults(world, rng).all, *Breakage(world, rng).all]
        allowed: list[Act] = rng.sample(faults, rng.randint(1, len(faults)))
        if self._stores is not None:
            allowed += self._stores.acts
        async with asyncio.TaskGroup() as group:
            await self._people.begin()
            end = world.now + seconds
            group.create_task(self._keep_doing(people, PEOPLE_EVERY, end))
            await self._keep_doing(allowed, FAULTS_EVERY, end)

    async def _keep_doing(self, acts: Sequence[Act], every: float, end: float) -> None:
        async with asyncio.TaskGroup() as group:
            while self._world.now < end:
                await asyncio.sleep(self._rng.expovariate(1 / every))
                group.create_task(self._rng.choice(acts)())  # type: ignore[arg-type]

    async def mend(self) -> None:
        """The end of all faults."""
        world = self._world
        world.say("all is mended")
        mend_machines(world)
        mend_processes(world)
        if self._stores is not None:
            await self._stores.mend()
        for name in sorted(world.nodes):
            await world.insist("node.update", UpdateNode(node=name, availability="active"))


async def _watch_engines(watchman: Watchman) -> None:
    while True:
        watchman.look_at_engines()
        await asyncio.sleep(LOOK_EVERY)


async def tell(seed: int, seconds: float = TROUBLE) -> Result:
    """Tell one seed's story to its end."""
    rng = random.Random(seed * 7919 + 1)
    said: list[str] = []
    trace, failure, virtual = "", "", 0.0
    try:
        async with world_of(seed, nodes=rng.randint(2, 5)) as world:
            said = world.said
            watchman = Watchman(world)
            NetworkWatch(world, watchman.note)
            promises = PromiseWatch(world, watchman.note)
            watchman.listeners.append(promises.stored)
            watchman.observers.append(promises.observed)
            watch = world.group.create_task(_watch_engines(watchman))
            patient = seed // STORE_SEEDS % PATIENT == PATIENT - 1
            stores = StoreStory(world, rng, patient=patient) if seed % STORE_SEEDS == STORE_SEEDS - 1 else None
            story = Story(world, rng, watchman, stores)
            try:
                await world.settled()
                await story.run(seconds)
                await story.mend()
                await settle(world, promises.ends_where_it_should)
                await quiet(world, watchman)
                watchman.raise_if_any()
            finally:
                trace, virtual = watchman.trace, world.now
                watch.cancel()
    except* (AssertionError, MeshError) as group:
        failure = "; ".join(f"{type(error).__name__}: {error}" for error in _leaves(group))
    return Result(seed, trace, virtual, tuple(said), failure, seconds)


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def run_seed(seed: int, seconds: float = TROUBLE) -> Result:
    """One seed on a loop of its own."""
    silence_logs()
    return run(tell(seed, seconds), limit=seconds + WHOLE)
