"""Gets images ready before tasks that need them are assigned here, and tells what is ready (`Observation.prepared`).

What can't be had is tried again for as long as the assignment wants it: the leader judges how long that may take.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agent.brought import Brought
from agent.engine.model import ImageInfo
from agent.guards import sleep_unless
from agent.pulling import Needed, Pulls
from schemas.assignment import Assignment
from schemas.errors import EngineUnavailable, MeshError
from schemas.spec import TaskSpec

AGAIN = 5.0
"""Seconds between two attempts at what could not be had."""

ERROR_WIDTH = 300


class Preparer:
    """What the assignment wants prepared, and how far that is."""

    def __init__(self, pulls: Pulls, brought: Brought) -> None:
        self._pulls = pulls
        self._brought = brought
        self._wanted: dict[str, tuple[str, TaskSpec]] = {}
        self._asked = asyncio.Event()
        self.prepared: dict[str, str] = {}
        """Spec hash -> "" (its image is here), or why it can't be had."""
        self.listeners: list[Callable[[], None]] = []
        """Called after each change of `prepared`."""

    def obey(self, assignment: Assignment | None) -> None:
        """Prepare this from now on. None: nothing is known, nothing changes."""
        if assignment is None:
            return
        names = assignment.prepare.items()
        wanted = {name: (service, assignment.specs[name]) for service, name in names if name in assignment.specs}
        if wanted != self._wanted:
            self._wanted = wanted
            self._set({name: said for name, said in self.prepared.items() if name in wanted})
            self._asked.set()

    async def run(self) -> None:
        """Prepare for ever."""
        while True:
            self._asked.clear()
            for name, (service, spec) in list(self._wanted.items()):
                if self.prepared.get(name) != "":
                    await self._look(name, service, spec)
            behind = any(self.prepared.get(name) != "" for name in self._wanted)
            await sleep_unless(self._asked, AGAIN if behind else 3600.0)

    async def _look(self, name: str, service: str, spec: TaskSpec) -> None:
        result = self._pulls.take(Needed.of(spec.container), f"prepare {name}", self._asked.set)
        match result:
            case None | EngineUnavailable():
                return
            case ImageInfo():
                await self._brought.used(result.id, service)
                self._tell(name, "")
            case MeshError():
                self._tell(name, " ".join(str(result).split())[:ERROR_WIDTH])

    def _tell(self, name: str, said: str) -> None:
        if name in self._wanted:
            self._set({**self.prepared, name: said})

    def _set(self, prepared: dict[str, str]) -> None:
        if prepared != self.prepared:
            self.prepared = prepared
            for listener in self.listeners:
                listener()
