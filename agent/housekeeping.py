"""What is thrown away, and what never: pure decisions, and a loop that carries them out.

Of the ended containers of each slot the last two are kept for their logs; an image is removed only if Dockmesh brought
it, nothing needs it and the disk is over 80 % full. Without an assignment nothing is removed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence

import structlog

from agent.brought import Brought
from agent.engine.labels import LABEL_SERVICE, LABEL_SLOT, LABEL_TASK
from agent.engine.model import Container, EngineInfo
from agent.engine.port import Engine
from agent.ledger import Ledger
from agent.local import LocalTask
from agent.pre_start import init_spec
from agent.pulling import Needed
from agent.reconciler import Reconciler
from agent.telling import Teller
from schemas.assignment import Assignment
from schemas.clock import Clock
from schemas.errors import EngineUnavailable, MeshError

KEPT_PER_SLOT = 2
KEPT_WITHOUT_SERVICE = 3600.0
"""Seconds after which ended containers go whose service has no task on this node any more."""
DISK_FULL = 0.8
EVERY = 30.0
AT_ONCE = 50
"""Containers removed in one go."""
PUT_OFF = (15.0, 600.0)
"""Seconds until one that could not be removed is tried again, at first and at most: they double. Its engine may just
have been away."""

log = structlog.get_logger()


def removable_containers(
    containers: Iterable[Container], local: Mapping[str, LocalTask], assignment: Assignment | None, now: float
) -> tuple[Container, ...]:
    """Ended containers that nobody will ask for. `now`: seconds since 1970, by the clock of this machine.

    `local` holds every task whose end was not stored in an observation yet: theirs stay.
    """
    if assignment is None:
        return ()
    named = {task.id for task in assignment.tasks}
    services = {task.service for task in assignment.tasks}
    by_slot: dict[tuple[str, str], list[Container]] = {}
    for container in containers:
        if container.ended or (container.state == "created" and container.error):
            labels = container.labels
            by_slot.setdefault((labels.get(LABEL_SERVICE, ""), labels.get(LABEL_SLOT, "")), []).append(container)
    found: list[Container] = []
    for (service, _slot), ended in sorted(by_slot.items()):
        ended.sort(key=lambda container: (_ended_at(container), container.id), reverse=True)
        late = [one for one in ended[:KEPT_PER_SLOT] if now - _ended_at(one) > KEPT_WITHOUT_SERVICE]
        old = ended[KEPT_PER_SLOT:] + (late if service not in services else [])
        found.extend(one for one in old if not {one.labels.get(LABEL_TASK, "")} & (named | set(local)))
    return tuple(found)


def _ended_at(container: Container) -> float:
    return container.finished_at or container.created_at


def removable_images(
    brought: Mapping[str, float], used: Mapping[str, Sequence[str]], needed: Collection[str], info: EngineInfo
) -> tuple[str, ...]:
    """Images to remove until the disk has room, least recently needed first.

    `brought`: id -> last needed; `used`: service -> the images of its last revisions here; `needed`: ids that
    containers or the assignment need now.
    """
    if not info.disk_total or 1 - info.disk_free / info.disk_total <= DISK_FULL:
        return ()
    kept = set(needed).union(*used.values())
    return tuple(sorted((image for image in brought if image not in kept), key=lambda image: (brought[image], image)))


class Housekeeping:
    """Carries the decisions out, now and then."""

    def __init__(
        self, engine: Engine, ledger: Ledger, reconciler: Reconciler, brought: Brought, teller: Teller, clock: Clock
    ) -> None:
        self._engine = engine
        self._ledger = ledger
        self._reconciler = reconciler
        self._brought = brought
        self._teller = teller
        self._clock = clock
        self._put_off: dict[str, tuple[float, float]] = {}
        """Ids of containers that could not be removed -> when it is tried again, and the pause until then (seconds)."""

    async def run(self) -> None:
        """Keep house for ever."""
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self.sweep()
            except MeshError as error:
                log.info("housekeeping.put_off", error=str(error))

    async def sweep(self) -> None:
        """Once. Raises EngineUnavailable."""
        if self._reconciler.frozen or self._reconciler.assignment is None:
            return
        there = {container.id for container in (*self._reconciler.containers, *self._reconciler.orphaned)}
        self._put_off = {id_: each for id_, each in self._put_off.items() if id_ in there}
        for orphan in self._reconciler.orphaned if self._reconciler.knows else ():
            if not self._is_put_off(orphan):
                await self._remove(orphan, force=True)
        await self._sweep_containers(self._reconciler.assignment)
        await self._sweep_images(self._reconciler.assignment)

    async def _sweep_containers(self, assignment: Assignment) -> None:
        old = removable_containers(self._reconciler.containers, self._ledger.tasks, assignment, self._clock.wall())
        removed = 0
        for container in [one for one in old if not self._is_put_off(one)][:AT_ONCE]:
            if not await self._remove(container):
                continue
            removed += 1
            labels = container.labels
            self._teller.tell(
                "container.removed",
                service=labels.get(LABEL_SERVICE, ""),
                task=labels.get(LABEL_TASK, ""),
                container=container.id,
                slot=labels.get(LABEL_SLOT, ""),
            )
        if removed:
            log.info("containers.removed", count=removed)

    async def _remove(self, container: Container, *, force: bool = False) -> bool:
        """Whether it could be removed; one that can't be costs no other. Raises EngineUnavailable."""
        try:
            await self._engine.remove(container.id, force=force)
        except MeshError as error:
            _, before = self._put_off.get(container.id, (0.0, PUT_OFF[0] / 2))
            pause = min(2 * before, PUT_OFF[1])
            self._put_off[container.id] = (self._clock.monotonic() + pause, pause)
            log.warning("container.not_removed", container=container.id, name=container.name, error=str(error))
            if isinstance(error, EngineUnavailable):
                raise
            return False
        return True

    def _is_put_off(self, container: Container) -> bool:
        until, _ = self._put_off.get(container.id, (0.0, 0.0))
        return until > self._clock.monotonic()

    async def _sweep_images(self, assignment: Assignment) -> None:
        services = {task.service for task in assignment.tasks}
        kept = {service: images for service, images in self._brought.services.items() if service in services}
        while True:
            info = await self._engine.info()
            if not removable_images(self._brought.images, kept, (), info):
                return
            candidates = removable_images(self._brought.images, kept, await self._needed(assignment), info)
            if not candidates or not await self._remove_image(candidates[0]):
                return

    async def _needed(self, assignment: Assignment) -> set[str]:
        needed = {container.image for container in self._reconciler.containers}
        specs = [*assignment.specs.values()]
        specs += [init_spec(spec, step) for spec in assignment.specs.values() for step in spec.pre_start]
        for spec in specs:
            found = await self._engine.image(Needed.of(spec.container).reference)
            if found:
                needed.add(found.id)
        return needed

    async def _remove_image(self, image: str) -> bool:
        try:
            await self._engine.remove_image(image)
        except MeshError as error:
            log.info("image.not_removed", image=image, error=str(error))
            await self._brought.add(image)
            return False
        await self._brought.drop(image)
        self._teller.tell("image.removed", image_id=image, why="the engine's disk is over 80 % full")
        log.info("image.removed", image=image)
        return True
