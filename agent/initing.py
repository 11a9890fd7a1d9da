"""Carries out what runs before a task's container (`agent.pre_start`), and clears it away: a task's worker has one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

import structlog

from agent.brought import Brought
from agent.engine.container import TaskContext
from agent.engine.labels import LABEL_INIT, Owner
from agent.engine.model import Container, ImageInfo
from agent.engine.port import Engine
from agent.local import LocalTask
from agent.pre_start import (
    AwaitInit,
    InitFailed,
    InitsDone,
    InitStep,
    MakeInit,
    StartInit,
    init_name,
    init_spec,
    next_init,
    plan_init,
)
from agent.pulling import Needed, Pulls
from schemas.errors import EngineUnavailable, MeshError, NotFound
from schemas.spec import TaskSpec

LOOK_EVERY = 2.0
"""Seconds after which a running one is looked at again, should its end not be told."""

log = structlog.get_logger()


@dataclass(frozen=True)
class Waiting:
    """It is not done. Seconds until it is looked at again, if nothing wakes earlier."""

    seconds: float


@dataclass(frozen=True)
class Failed:
    """The task has failed; the log of `container`, if that was made, tells more."""

    why: str
    container: str = ""


class Inits:
    """Of one task."""

    def __init__(
        self, engine: Engine, owner: Owner, boot: str, pulls: Pulls, brought: Brought, wake: Callable[[], None]
    ) -> None:
        self._engine = engine
        self._owner = owner
        self._boot = boot
        self._pulls = pulls
        self._brought = brought
        self._wake = wake
        self._done = False

    async def bring(self, task: LocalTask, spec: TaskSpec, context: TaskContext) -> Waiting | Failed | None:
        """One step; None: all have ended well. Raises EngineUnavailable; what else the engine says fails the task."""
        if self._done:
            return None
        rebooted = task.inits_boot not in ("", self._boot)
        step = next_init(spec.pre_start, await self._seen(task, len(spec.pre_start)), rebooted=rebooted)
        log.info("task.pre_start", task=task.id, service=task.service, step=type(step).__name__)
        return await self._do(step, task, spec, context)

    async def _do(
        self, step: InitStep, task: LocalTask, spec: TaskSpec, context: TaskContext
    ) -> Waiting | Failed | None:
        match step:
            case MakeInit(index=index):
                return await self._make(index, task, spec, context)
            case StartInit(container=container):
                if context.joins[1:]:
                    await self._engine.attach(container, context.joins[1:])
                await self._engine.start(container)
                return Waiting(0.0)
            case AwaitInit():
                return Waiting(LOOK_EVERY)
            case InitFailed(container=container, why=why):
                return Failed(why, container)
            case InitsDone():
                self._done = True
                return None
            case _:
                assert_never(step)

    async def _make(self, index: int, task: LocalTask, spec: TaskSpec, context: TaskContext) -> Waiting | Failed:
        own = init_spec(spec, spec.pre_start[index])
        image = task.image
        if Needed.of(own.container) != Needed.of(spec.container):
            found = self._pulls.take(Needed.of(own.container), f"{task.id}.init{index + 1}", self._wake)
            if found is None:
                return Waiting(LOOK_EVERY)
            if not isinstance(found, ImageInfo):
                raise found
            await self._brought.used(found.id, task.service)
            image = found.id
        await self._engine.create(plan_init(spec, spec.pre_start[index], index, context, image))
        return Waiting(0.0)

    async def clear(self, task: LocalTask) -> bool:
        """End all of them and remove them; False: an ended one can't be removed now. Raises MeshError."""
        cleared = True
        for container in (await self._seen(task, task.inits)).values():
            if container.alive:
                await self._engine.stop(
                    container.id, grace=10.0 if container.stop_grace is None else container.stop_grace
                )
            try:
                await self._engine.remove(container.id)
            except EngineUnavailable:
                raise
            except MeshError as error:
                log.warning("task.pre_start_not_removed", task=task.id, container=container.name, error=str(error))
                cleared = False
        return cleared

    async def _seen(self, task: LocalTask, count: int) -> dict[int, Container]:
        found: dict[int, Container] = {}
        for index in range(count):
            try:
                view = await self._engine.inspect(init_name(task.service, task.slot, task.id, index))
            except NotFound:
                continue
            if self._owner.owns(view.labels) and view.labels.get(LABEL_INIT) == task.id:
                found[index] = view
        return found
