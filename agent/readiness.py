"""Whether tasks are ready, by checks that the agent makes itself (`ContainerSpec.ready`).

A task is not ready until its first good answer, and no more after `retries` bad ones in a row; it is not ended for
that. What was known before a restart of the agent holds until a check says otherwise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from agent.engine.model import Container
from agent.engine.port import Engine
from agent.local import LocalTask
from schemas.errors import MeshError
from schemas.spec import ReadyCheck

NOT_CHECKED = "not checked yet"

SOONER = 0.5
"""Seconds between two checks of a task that is not ready, where `interval` is longer."""


@dataclass
class _Watch:
    container: Container
    check: ReadyCheck
    wake: Callable[[], None]
    why: str
    failures: int = 0


class Readiness:
    """All checks of this node. Each runs in a loop of its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._watched: dict[str, _Watch] = {}
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Check for ever."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for task, watch in self._watched.items():
                group.create_task(self._keep_checking(task, watch), name=f"ready-{task}")
            await asyncio.Event().wait()

    def why_not(self, task: LocalTask, container: Container, check: ReadyCheck, wake: Callable[[], None]) -> str:
        """Why the running task is not ready; "" if it is. From now on it is checked, and `wake` called at each news."""
        watch = self._watched.get(task.id)
        if watch is None or watch.container.id != container.id or watch.check != check:
            why = task.not_ready if task.started else NOT_CHECKED
            watch = self._watched[task.id] = _Watch(container, check, wake, why)
            if self._group is not None:
                self._group.create_task(self._keep_checking(task.id, watch), name=f"ready-{task.id}")
        watch.container, watch.wake = container, wake
        return watch.why

    def leave(self, task: str) -> None:
        """It does not run (any more)."""
        self._watched.pop(task, None)

    async def _keep_checking(self, task: str, watch: _Watch) -> None:
        while self._watched.get(task) is watch:
            try:
                said = await self._engine.probe(watch.container, watch.check)
            except MeshError:
                said = watch.why
            watch.failures = watch.failures + 1 if said else 0
            news = said if watch.why or watch.failures >= watch.check.retries else ""
            if news != watch.why and self._watched.get(task) is watch:
                watch.why = news
                watch.wake()
            interval = watch.check.interval
            await asyncio.sleep(min(interval, SOONER) if watch.why else interval)
