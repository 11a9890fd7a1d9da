"""Logs of many tasks as one stream: history merged by time, then new lines as they come, from new tasks, too.

Memory stays bounded: of each task one page is held at a time.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias

from msgspec.structs import replace

from meshctl.client import Mesh
from schemas.errors import MeshError, NotFound, Unreachable
from schemas.nodeapi import LogLine, ReadLogs
from schemas.taskapi import TaskView

LOOK_EVERY = 1.0
"""Seconds between two looks for new tasks while following."""

FOLLOW_WAIT = 5.0
"""Seconds that an agent may wait for the next line before it answers."""


@dataclass(frozen=True)
class Source:
    """A task whose log is read."""

    task: str
    node: str
    service: str
    slot: str


Finder: TypeAlias = Callable[[], Awaitable[Sequence[Source]]]
Teller: TypeAlias = Callable[[Source, LogLine], None]


@dataclass
class Reading:
    """What is wanted of the logs, and how far each source was read."""

    tail: int = -1
    since: float = 0.0
    cursors: dict[str, str] = field(default_factory=dict)
    over: set[str] = field(default_factory=set)
    warn: Callable[[str], None] = lambda _: None
    """Told what can't be read; the rest goes on."""


def sources(tasks: Sequence[TaskView]) -> list[Source]:
    """The tasks that have, or had, a container."""
    return [
        Source(task=task.id, node=task.node, service=task.service, slot=task.slot)
        for task in tasks
        if task.id and task.node and (task.container or task.state not in ("assigned", "new", "pulling"))
    ]


async def history(
    mesh: Mesh, wanted: Sequence[Source], reading: Reading
) -> AsyncGenerator[tuple[Source, LogLine], None]:
    """What the logs hold now, in the order of time."""
    pages = [_pages(mesh, source, reading) for source in wanted]
    heap: list[tuple[str, int, LogLine]] = []
    async with asyncio.TaskGroup() as group:
        for index, lines in enumerate(pages):
            group.create_task(_push(heap, index, lines))
    while heap:
        _, index, line = heapq.heappop(heap)
        yield wanted[index], line
        await _push(heap, index, pages[index])


async def follow(mesh: Mesh, wanted: Sequence[Source], reading: Reading, find: Finder, tell: Teller) -> None:
    """Tell new lines of all sources as they come, and of those that `find` finds later. Runs until cancelled."""
    known: set[str] = set(reading.over)
    async with asyncio.TaskGroup() as group:
        found = list(wanted)
        while True:
            for source in found:
                if source.task not in known:
                    known.add(source.task)
                    group.create_task(_pump(mesh, source, reading, tell))
            await asyncio.sleep(LOOK_EVERY)
            with suppress(Unreachable):
                found = list(await find())


async def _pump(mesh: Mesh, source: Source, reading: Reading, tell: Teller) -> None:
    """Tell the lines of one task until it has ended; a node that does not answer is asked again."""
    request = ReadLogs(task=source.task, cursor=reading.cursors.get(source.task, ""), wait=FOLLOW_WAIT)
    while True:
        try:
            page = await mesh.log_page(source.node, request)
        except Unreachable as error:
            reading.warn(error.message)
            await asyncio.sleep(LOOK_EVERY)
            continue
        except MeshError as error:
            reading.warn(f"{source.service}.{source.slot} ({source.task}): {error.message}")
            return
        for line in page.lines:
            tell(source, line)
        if page.ended:
            return
        request = replace(request, cursor=page.cursor or request.cursor)
        if not page.lines:
            await asyncio.sleep(0.05)  # an agent that does not wait must not be asked in a circle


async def _push(heap: list[tuple[str, int, LogLine]], index: int, lines: AsyncGenerator[LogLine, None]) -> None:
    with suppress(StopAsyncIteration):
        line = await anext(lines)
        heapq.heappush(heap, (line.at, index, line))


async def _pages(mesh: Mesh, source: Source, reading: Reading) -> AsyncGenerator[LogLine, None]:
    request, told = ReadLogs(task=source.task, tail=reading.tail, since=reading.since), 0
    while True:
        try:
            page = await mesh.log_page(source.node, request)
        except NotFound:  # of ended tasks only the last containers of each slot are kept
            reading.over.add(source.task)
            return
        except MeshError as error:
            reading.warn(f"{source.service}.{source.slot} ({source.task}): {error.message}")
            return
        for line in page.lines:
            yield line
        told += len(page.lines)
        reading.cursors[source.task] = page.cursor
        if page.ended:
            reading.over.add(source.task)
        # A task that writes on and on has always more to say than its last lines were when they were asked for.
        if page.ended or not page.lines or 0 <= reading.tail <= told:
            return
        request = ReadLogs(task=source.task, cursor=page.cursor)
