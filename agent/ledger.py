"""What this agent knows of its tasks, in memory and on disk.

The journal of events is always on disk before the note of what it tells: a crash between the two tells something
twice and never not at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

import structlog

from agent.files import Files
from agent.journal import Journal
from agent.local import LocalTask
from schemas.errors import BadMessage
from schemas.wire import Wire, decode, encode

FILE = "tasks.json"
SAVE_EVERY = 0.1
"""Seconds between two saves while tasks change."""
RETRY = 2.0

log = structlog.get_logger()


class SavedTasks(Wire, frozen=True, kw_only=True):
    """The content of the file."""

    tasks: tuple[LocalTask, ...] = ()


class Ledger:
    """The tasks of this node by id."""

    def __init__(self, files: Files, journal: Journal) -> None:
        self._files = files
        self._journal = journal
        self._tasks: dict[str, LocalTask] = {}
        self._dirty = asyncio.Event()
        self._lock = asyncio.Lock()
        self.listeners: list[Callable[[], None]] = []
        self.task_listeners: list[Callable[[str, LocalTask | None], None]] = []
        """Called with each task that has changed; None: it was forgotten."""

    @property
    def tasks(self) -> Mapping[str, LocalTask]:
        """All of them."""
        return MappingProxyType(self._tasks)

    def put(self, task: LocalTask) -> None:
        """Note how a task is now."""
        if self._tasks.get(task.id) != task:
            self._tasks[task.id] = task
            for listener in self.task_listeners:
                listener(task.id, task)
            self._changed()

    def forget(self, ids: Iterable[str]) -> None:
        """These are history."""
        for id_ in ids:
            if self._tasks.pop(id_, None) is not None:
                for listener in self.task_listeners:
                    listener(id_, None)
                self._changed()

    def _changed(self) -> None:
        self._dirty.set()
        for listener in self.listeners:
            listener()

    async def load(self) -> None:
        """Take over what an earlier process noted. A file that makes no sense is put aside: labels tell the most."""
        try:
            data = await self._files.read(FILE)
        except OSError as error:
            log.error("ledger.not_read", error=str(error))
            return
        if data is None:
            return
        try:
            self._tasks = {task.id: task for task in decode(data, SavedTasks).tasks}
        except BadMessage as error:
            log.error("ledger.put_aside", error=str(error))
            await self._files.write(f"{FILE}.bad", data)

    async def flush(self) -> bool:
        """On disk now: events first, then the tasks. False: the disk refuses; it is tried again later."""
        async with self._lock:
            self._dirty.clear()
            await self._journal.persist()
            try:
                await self._files.write(FILE, encode(SavedTasks(tasks=tuple(self._tasks.values()))))
            except OSError as error:
                log.error("ledger.not_saved", error=str(error))
                self._dirty.set()
                return False
        return True

    async def run(self) -> None:
        """Save changes for ever."""
        while True:
            await self._dirty.wait()
            await asyncio.sleep(SAVE_EVERY if await self.flush() else RETRY)
