"""Gets images ready before tasks that need them are assigned here, and tells what is ready (`Observation.prepared`).

What can't be had is tried again for as long as the assignment wants it: the leader judges how long that may take.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agent.brought import Brought
from agent.engine.model import ImageInfo
from agent.guards import sleep_unless
from agent.pre_start import containers_of
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
        self._here: dict[str, set[Needed]] = {}
        """Spec hash -> those of its images that are here."""
        self.prepared: dict[str, str] = {}
        """Spec hash -> "" (its images are here, also those of what runs before it), or why one can't be had."""
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
            self._here = {name: here for name, here in self._here.items() if name in wanted}
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
        """All its images are asked for at once; it is told once the last is here, or the first that can't be had."""
        here = self._here.setdefault(name, set())
        for needed in dict.fromkeys(map(Needed.of, containers_of(spec))):
            if needed in here:
                continue
            result = self._pulls.take(needed, f"prepare {name}", self._asked.set)
            match result:
                case None | EngineUnavailable():
                    continue
                case ImageInfo():
                    await self._brought.used(result.id, service)
                    here.add(needed)
                case MeshError():
                    self._tell(name, " ".join(str(result).split())[:ERROR_WIDTH])
        if here.issuperset(map(Needed.of, containers_of(spec))):
            self._tell(name, "")

    def _tell(self, name: str, said: str) -> None:
        if name in self._wanted:
            self._set({**self.prepared, name: said})

    def _set(self, prepared: dict[str, str]) -> None:
        if prepared != self.prepared:
            self.prepared = prepared
            for listener in self.listeners:
                listener()
