"""The images of a real Docker engine: found, pulled, loaded and saved in bounded memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from agent.engine import docker_calls as calls
from agent.engine.docker_client import Api
from agent.engine.docker_errors import translated
from agent.engine.docker_identity import ConfigDigests
from agent.engine.docker_line import IDLE, LOOK, PULL_IDLE, Line
from agent.engine.docker_pull import ends_in_silence, pull, registry_digest
from agent.engine.model import (
    ImageInfo,
    PullProgress,
)
from agent.engine.pipes import FromThread, ToThread
from schemas.errors import EngineError, NotFound

T = TypeVar("T")


class DockerImages:
    """The part of an `Engine` that has to do with images."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._configs = ConfigDigests()
        self._manifest_ids: bool | None = None
        """What kind of image store the engine has; None: not asked yet."""

    async def image(self, reference: str) -> ImageInfo | None:
        store = await self._has_manifest_ids()
        found = await self._line.look("image", partial(calls.image, reference=reference, manifest_ids=store))
        if found is not None or not store or not reference.startswith("sha256:"):
            return found
        known = self._configs.remembered(reference)
        if known is not None:
            found = await self._line.look("image", partial(calls.image, reference=known, manifest_ids=True))
        return found or await self._line.transfer("image", lambda api: self._configs.find(api, reference))

    async def images(self) -> tuple[ImageInfo, ...]:
        store = await self._has_manifest_ids()
        return await self._line.look("images", partial(calls.images, manifest_ids=store))

    async def _has_manifest_ids(self) -> bool:
        if self._manifest_ids is None:
            self._manifest_ids = await self._line.look("images", calls.manifest_ids)
        return self._manifest_ids

    async def digest(self, reference: str) -> str:
        def work(api: Api) -> str:
            with translated("ask the registry", self._line.address, LOOK, image=reference):
                return registry_digest(api, reference)

        return await self._line.transfer("ask the registry", work)

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

        def work(api: Api) -> None:
            with (
                translated("pull", self._line.address, PULL_IDLE, image=reference),
                ends_in_silence(reference, PULL_IDLE),
            ):
                pull(api, reference, platform, tell, tag)

        try:
            await self._line.pull(work)
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
            loading = group.create_task(_outcome(self._line.transfer("load", lambda api: calls.load(api, iter(pipe)))))
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

        def work(api: Api) -> None:
            api.timeout = int(IDLE)
            with translated("save", self._line.address, IDLE):
                pipe.fill(calls.save(api, reference))

        done = await self._line.begin_transfer(work)
        done.add_done_callback(pipe.end)
        try:
            async for chunk in pipe:
                yield chunk
        finally:
            pipe.close()

    async def remove_image(self, reference: str) -> None:
        await self._line.change("remove image", lambda api: calls.remove_image(api, reference))


async def _outcome(work: Coroutine[Any, Any, T]) -> T | Exception:
    """Its result or its error, as a value: one that fails shall not cancel its group."""
    try:
        return await work
    except Exception as error:
        return error
