"""The containers of a real Docker engine.

Waiting (for a stop, for a log line) is done in the loop by looking again, so that no thread is held.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from agent.engine import docker_calls as calls
from agent.engine import docker_networks
from agent.engine.docker_events import EventStream
from agent.engine.docker_line import Line
from agent.engine.docker_signals import Signals, asked_to_end
from agent.engine.docker_views import Json, changed_files, listed_key, setup_view
from agent.engine.labels import Owner, owner_of
from agent.engine.logs import take_page
from agent.engine.model import (
    Container,
    EngineEvent,
    EventGap,
    Setup,
)
from agent.engine.plans import ContainerPlan, Join, LogQuery
from schemas.clock import Clock
from schemas.errors import EngineError, MeshError, NotFound, Refused
from schemas.nodeapi import LogPage

KILL_LIMIT = 15.0
"""Seconds from SIGKILL to the end of a container."""


class DockerContainers:
    """The part of an `Engine` that has to do with containers."""

    def __init__(self, line: Line, clock: Clock) -> None:
        self._line = line
        self._clock = clock
        self._owners: set[Owner] = set()
        self._ours: set[str] = set()
        """Ids of containers whose labels were seen to be an owner's."""
        self._seen: dict[str, tuple[tuple[str, str, int], Container]] = {}
        self._streams: list[EventStream] = []
        self._signals = Signals()

    async def containers(self, owner: Owner) -> tuple[Container, ...]:
        self._owners.add(owner)
        entries = await self._line.look("containers", partial(calls.listed, owner=owner))
        gone = self._ours - {entry["Id"] for entry in entries}
        self._ours -= gone
        for container in gone:
            self._seen.pop(container, None)
            self._signals.forget(container)
        async with asyncio.TaskGroup() as group:
            views = [group.create_task(self._listed(entry)) for entry in entries]
        found = [view.result() for view in views]
        for failure in found:
            if isinstance(failure, MeshError):
                raise failure
        return tuple(sorted((one for one in found if isinstance(one, Container)), key=lambda view: view.name))

    async def _listed(self, entry: Json) -> Container | MeshError | None:
        """The whole view of a list entry; asked for only if the entry has changed."""
        container, key = str(entry["Id"]), listed_key(entry)
        seen = self._seen.get(container)
        if seen is not None and seen[0] == key:
            return seen[1]
        try:
            view = await self.inspect(container)
        except NotFound:
            return None
        except MeshError as error:
            return error
        if view.state == key[0]:
            self._seen[container] = (key, view)
        return view

    async def inspect(self, container: str) -> Container:
        view = await self._line.look("inspect", lambda api: calls.inspect(api, container))
        self._seen.pop(view.id, None)
        if self._know(view) and self._signals.in_doubt(view):
            return replace(view, told_to_end=self._signals.told(view) or await self._was_told(view))
        return view

    async def _was_told(self, view: Container) -> bool:
        now = self._clock.wall()
        return await self._line.look("what told it to end", lambda api: asked_to_end(api, view, now))

    async def setup(self, container: str) -> Setup:
        return await self._line.look("setup", lambda api: setup_view(api.inspect_container(container)))

    async def changed_files(self, container: str) -> tuple[str, ...]:
        return await self._line.change("changed files", lambda api: changed_files(api.diff(container)))

    def _know(self, view: Container) -> bool:
        """Whether a container is ours to change."""
        ours = any(owner.owns(view.labels) for owner in self._owners)
        if ours:
            self._ours.add(view.id)
        return ours

    async def _mine(self, container: str) -> None:
        """Raises Refused for a container of somebody else, NotFound if it is not there."""
        if container not in self._ours and not self._know(view := await self.inspect(container)):
            raise Refused(f"container {view.name} is not of this mesh and node: left alone")

    async def create(self, plan: ContainerPlan) -> str:
        self._owners.add(owner_of(plan.labels))
        made = await self._line.change("create", lambda api: calls.create(api, plan))
        self._ours.add(made)
        return made

    async def start(self, container: str) -> None:
        await self._mine(container)
        await self._line.change("start", lambda api: api.start(container))

    async def stop(self, container: str, *, signal: str = "", grace: float = 10.0) -> None:
        await self._mine(container)
        own, view = await self._line.look("stop", lambda api: calls.stop_signal(api, container))
        if not view.alive:
            return
        await self.kill(container, signal or own)
        if not await self._ended(container, grace):
            await self.kill(container)
            if not await self._ended(container, KILL_LIMIT):
                raise EngineError(f"container {view.name} did not end within {KILL_LIMIT:g} s of SIGKILL")

    async def _ended(self, container: str, within: float) -> bool:
        """Whether it has ended, or does so in that time."""
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + within, 0.05
        while True:
            try:
                if not (await self.inspect(container)).alive:
                    return True
            except NotFound:
                return True
            left = until - loop.time()
            if left <= 0:
                return False
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 1.5, 0.5)

    async def kill(self, container: str, signal: str = "SIGKILL") -> None:
        await self._mine(container)
        self._signals.sent(container)
        await self._line.change("kill", lambda api: calls.kill(api, container, signal), urgent=True)

    async def remove(self, container: str, *, force: bool = False) -> None:
        with suppress(NotFound):
            await self._mine(container)
            await self._line.change("remove", lambda api: calls.remove(api, container, force=force))
        self._ours.discard(container)
        self._seen.pop(container, None)
        self._signals.forget(container)

    async def logs(self, container: str, query: LogQuery) -> LogPage:
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + query.wait, 0.2
        while True:
            # How it is now must be asked first: a line written after that is not missed.
            tty, view = await self._line.look("logs", lambda api: calls.is_tty(api, container))
            read = partial(calls.read_log, container=container, query=query, tty=tty)
            lines = await self._line.look("logs", read)
            page = take_page(lines, query, alive=view.alive)
            if page.lines or page.ended or loop.time() >= until:
                return page
            await asyncio.sleep(min(pause, max(0.0, until - loop.time())))
            pause = min(pause * 1.5, 1.0)

    async def events(self, owner: Owner) -> AsyncIterator[EngineEvent | EventGap]:
        self._owners.add(owner)
        stream = EventStream(self._line.address, owner, self._clock)
        self._streams.append(stream)
        try:
            async for event in stream.read():
                if isinstance(event, EngineEvent):
                    self._seen.pop(event.container, None)
                    self._signals.heard(event)
                yield event
        finally:
            stream.close()
            self._streams.remove(stream)

    async def attach(self, container: str, joins: Sequence[Join]) -> None:
        await self._mine(container)
        await self._line.change("attach", lambda api: docker_networks.attach(api, container, joins))
