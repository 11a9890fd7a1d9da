"""A real Docker engine behind the port: docker-py in a few threads, one more for events.

It is connected lazily, anew after each failure, in the API version that the engine speaks. Waiting (for a stop, for a
log line) is done in the loop by looking again, so that no thread is held. What a caller gives up (cancels) is still
done by the thread that has it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from agent.engine import docker_calls as calls
from agent.engine import docker_networks
from agent.engine.docker_errors import translated
from agent.engine.docker_events import EventStream
from agent.engine.docker_identity import ConfigDigests
from agent.engine.docker_pull import pull, registry_digest
from agent.engine.docker_views import Json, changed_files, listed_key, setup_view
from agent.engine.logs import take_page
from agent.engine.pipes import FromThread, ToThread
from agent.engine.port import (
    Container,
    ContainerPlan,
    EngineEvent,
    EngineInfo,
    EngineNetwork,
    EventGap,
    ImageInfo,
    Join,
    LogQuery,
    NetworkPlan,
    Owner,
    PullProgress,
    Setup,
    Volume,
    VolumePlan,
    owner_of,
)
from agent.engine.probing import probe
from agent.engine.workers import Workers
from schemas.clock import Clock
from schemas.errors import EngineError, MeshError, NotFound, Refused
from schemas.nodeapi import LogPage
from schemas.observation import BoundPort
from schemas.spec import ReadyCheck

T = TypeVar("T")

THREADS = 8
"""More bring nothing: the engine itself serializes (measured)."""

TRANSFERS = 3
"""Pulls, loads and saves at once: they hold their thread for long."""

LOOK = 20.0
CHANGE = 90.0
IDLE = 180.0
"""Seconds: a call that reads (an engine that starts a container lets nobody look at it meanwhile), one that changes, a
transfer without a sign of life."""

KILL_LIMIT = 15.0
"""Seconds from SIGKILL to the end of a container."""


class DockerEngine:
    """An `Engine`. `address`: unix:///var/run/docker.sock or any other that docker-py takes."""

    def __init__(self, address: str, *, clock: Clock) -> None:
        self._address = address
        self._clock = clock
        open_one = partial(calls.connect, address)
        self._workers: Workers[calls.Api] = Workers(THREADS, "engine", open_one, calls.Api.close)
        self._transfers: Workers[calls.Api] = Workers(TRANSFERS, "engine-transfer", open_one, calls.Api.close)
        self._owners: set[Owner] = set()
        self._ours: set[str] = set()
        """Ids of containers whose labels were seen to be an owner's."""
        self._seen: dict[str, tuple[tuple[str, str, int], Container]] = {}
        self._streams: list[EventStream] = []
        self._configs = ConfigDigests()
        self._manifest_ids: bool | None = None
        """What kind of image store the engine has; None: not asked yet."""

    # containers

    async def info(self) -> EngineInfo:
        return await self._look("info", calls.info)

    async def containers(self, owner: Owner) -> tuple[Container, ...]:
        self._owners.add(owner)
        entries = await self._look("containers", partial(calls.listed, owner=owner))
        gone = self._ours - {entry["Id"] for entry in entries}
        self._ours -= gone
        for container in gone:
            self._seen.pop(container, None)
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
        view = await self._look("inspect", lambda api: calls.inspect(api, container))
        self._seen.pop(view.id, None)
        self._know(view)
        return view

    async def setup(self, container: str) -> Setup:
        return await self._look("setup", lambda api: setup_view(api.inspect_container(container)))

    async def changed_files(self, container: str) -> tuple[str, ...]:
        return await self._change("changed files", lambda api: changed_files(api.diff(container)))

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
        made = await self._change("create", lambda api: calls.create(api, plan))
        self._ours.add(made)
        return made

    async def start(self, container: str) -> None:
        await self._mine(container)
        await self._change("start", lambda api: api.start(container))

    async def stop(self, container: str, *, signal: str = "", grace: float = 10.0) -> None:
        await self._mine(container)
        own, view = await self._look("stop", lambda api: calls.stop_signal(api, container))
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
        await self._change("kill", lambda api: calls.kill(api, container, signal), urgent=True)

    async def remove(self, container: str, *, force: bool = False) -> None:
        with suppress(NotFound):
            await self._mine(container)
            await self._change("remove", lambda api: calls.remove(api, container, force=force))
        self._ours.discard(container)
        self._seen.pop(container, None)

    async def logs(self, container: str, query: LogQuery) -> LogPage:
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + query.wait, 0.2
        while True:
            # How it is now must be asked first: a line written after that is not missed.
            tty, view = await self._look("logs", lambda api: calls.is_tty(api, container))
            read = partial(calls.read_log, container=container, query=query, tty=tty)
            lines = await self._look("logs", read)
            page = take_page(lines, query, alive=view.alive)
            if page.lines or page.ended or loop.time() >= until:
                return page
            await asyncio.sleep(min(pause, max(0.0, until - loop.time())))
            pause = min(pause * 1.5, 1.0)

    async def events(self, owner: Owner) -> AsyncIterator[EngineEvent | EventGap]:
        self._owners.add(owner)
        stream = EventStream(self._address, owner, self._clock)
        self._streams.append(stream)
        try:
            async for event in stream.read():
                if isinstance(event, EngineEvent):
                    self._seen.pop(event.container, None)
                yield event
        finally:
            stream.close()
            self._streams.remove(stream)

    # images

    async def image(self, reference: str) -> ImageInfo | None:
        store = await self._has_manifest_ids()
        found = await self._look("image", partial(calls.image, reference=reference, manifest_ids=store))
        if found is not None or not store or not reference.startswith("sha256:"):
            return found
        known = self._configs.remembered(reference)
        if known is not None:
            found = await self._look("image", partial(calls.image, reference=known, manifest_ids=True))
        return found or await self._transfer("image", lambda api: self._configs.find(api, reference))

    async def images(self) -> tuple[ImageInfo, ...]:
        store = await self._has_manifest_ids()
        return await self._look("images", partial(calls.images, manifest_ids=store))

    async def _has_manifest_ids(self) -> bool:
        if self._manifest_ids is None:
            self._manifest_ids = await self._look("images", calls.manifest_ids)
        return self._manifest_ids

    async def digest(self, reference: str) -> str:
        def work(api: calls.Api) -> str:
            with translated("ask the registry", self._address, LOOK, image=reference):
                return registry_digest(api, reference)

        return await self._transfer("ask the registry", work)

    async def pull(
        self,
        reference: str,
        platform: str = "",
        progress: Callable[[PullProgress], None] | None = None,
        *,
        tag: str = "",
    ) -> ImageInfo:
        loop = asyncio.get_running_loop()
        given_up = False

        def tell(step: PullProgress) -> bool:
            if progress is not None and not given_up:
                loop.call_soon_threadsafe(progress, step)
            return not given_up

        def work(api: calls.Api) -> None:
            with translated("pull", self._address, IDLE, image=reference):
                pull(api, reference, platform, tell, tag)

        try:
            await self._transfer("pull", work)
        finally:
            given_up = True
        found = await self.image(reference)
        if found is None:
            raise EngineError(f"image {reference} was pulled, but the engine does not have it")
        return found

    async def load(self, chunks: AsyncIterator[bytes]) -> tuple[str, ...]:
        pipe = ToThread()
        async with asyncio.TaskGroup() as group:
            feeding = group.create_task(_outcome(pipe.feed(chunks)))
            loading = group.create_task(_outcome(self._transfer("load", lambda api: calls.load(api, iter(pipe)))))
            loaded = await loading
            feeding.cancel()
        if not feeding.cancelled() and isinstance(fed := feeding.result(), Exception):
            raise fed  # it is the cause of whatever the engine says
        if isinstance(loaded, Exception):
            raise loaded
        return loaded

    async def save(self, reference: str) -> AsyncIterator[bytes]:
        if await self.image(reference) is None:
            raise NotFound(f"no such image: {reference}")
        pipe = FromThread()

        def work(api: calls.Api) -> None:
            api.timeout = int(IDLE)
            with translated("save", self._address, IDLE):
                pipe.fill(calls.save(api, reference))

        done = await self._transfers.begin(work)
        done.add_done_callback(pipe.end)
        try:
            async for chunk in pipe:
                yield chunk
        finally:
            pipe.close()

    async def remove_image(self, reference: str) -> None:
        await self._change("remove image", lambda api: calls.remove_image(api, reference))

    # volumes, ports, paths

    async def volumes(self) -> tuple[Volume, ...]:
        return await self._look("volumes", calls.volumes)

    async def create_volume(self, plan: VolumePlan) -> None:
        await self._change("create volume", lambda api: calls.ensure_volume(api, plan))

    async def remove_volume(self, name: str) -> None:
        await self._change("remove volume", lambda api: api.remove_volume(name))

    async def networks(self, owner: Owner) -> tuple[EngineNetwork, ...]:
        return await self._look("networks", partial(docker_networks.networks, owner=owner))

    async def create_network(self, plan: NetworkPlan) -> None:
        await self._change("create network", lambda api: docker_networks.create_network(api, plan))

    async def remove_network(self, name: str, owner: Owner) -> None:
        await self._change("remove network", lambda api: docker_networks.remove_network(api, name, owner))

    async def probe(self, container: Container, check: ReadyCheck) -> str:
        return await probe(next(iter(container.addresses.values()), "127.0.0.1"), check)

    async def attach(self, container: str, joins: Sequence[Join]) -> None:
        await self._mine(container)
        await self._change("attach", lambda api: docker_networks.attach(api, container, joins))

    async def other_ports(self, owner: Owner) -> tuple[BoundPort, ...]:
        return await self._look("ports", lambda api: calls.other_ports(api, owner))

    async def path_exists(self, path: str) -> bool:
        return await self._look("path", lambda _: calls.path_exists(path))

    async def close(self) -> None:
        for stream in self._streams:
            stream.close()
        self._workers.close()
        self._transfers.close()

    # how calls are made

    async def _look(self, what: str, work: Callable[[calls.Api], T]) -> T:
        return await self._workers.run(self._guarded(what, work, LOOK), limit=LOOK, what=what, urgent=True)

    async def _change(self, what: str, work: Callable[[calls.Api], T], *, urgent: bool = False) -> T:
        return await self._workers.run(self._guarded(what, work, CHANGE), limit=CHANGE, what=what, urgent=urgent)

    async def _transfer(self, what: str, work: Callable[[calls.Api], T]) -> T:
        return await self._transfers.run(self._guarded(what, work, IDLE), limit=None, what=what)

    def _guarded(self, what: str, work: Callable[[calls.Api], T], limit: float) -> Callable[[calls.Api], T]:
        def guarded(api: calls.Api) -> T:
            api.timeout = int(limit)
            with translated(what, self._address, limit):
                return work(api)

        return guarded


async def _outcome(work: Coroutine[Any, Any, T]) -> T | Exception:
    """Its result or its error, as a value: one that fails shall not cancel its group."""
    try:
        return await work
    except Exception as error:
        return error
