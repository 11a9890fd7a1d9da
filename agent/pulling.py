"""Getting images: one fetch for all tasks that need the same one, a few pulls at once, told as events.

A node that has an image never asks a registry, and waits for no pull of another one. Asking twice for the result of
one fetch is not possible: each waiter takes it once, so that a later task tries anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from agent.brought import Brought
from agent.engine.model import ImageInfo, PullProgress
from agent.engine.port import Engine
from agent.guards import guarded
from agent.telling import Teller
from schemas.clock import Clock
from schemas.errors import ImageUnavailable, MeshError
from schemas.spec import ContainerSpec

PULLS_AT_ONCE = 3
PROGRESS_EVERY = 1.0
"""Seconds between two events that tell the progress of one pull."""

log = structlog.get_logger()


@dataclass(frozen=True)
class Needed:
    """Which image a task needs; equal ones share a fetch."""

    image: str
    image_id: str = ""
    platform: str = ""
    pull_policy: str = "missing"

    @property
    def reference(self) -> str:
        """The pinned identity where there is one."""
        return self.image_id or self.image

    @classmethod
    def of(cls, spec: ContainerSpec) -> Needed:
        """What a container's spec needs."""
        return cls(spec.image, spec.image_id, spec.platform, spec.pull_policy)


@dataclass
class _Fetch:
    waiters: dict[str, Callable[[], None]] = field(default_factory=dict)
    result: ImageInfo | MeshError | None = None
    begun: bool = False


class Pulls:
    """All fetches of this agent."""

    def __init__(self, engine: Engine, teller: Teller, brought: Brought, clock: Clock) -> None:
        self._engine = engine
        self._teller = teller
        self._brought = brought
        self._clock = clock
        self._fetches: dict[Needed, _Fetch] = {}
        self._asked = asyncio.Event()
        self._slots = asyncio.Semaphore(PULLS_AT_ONCE)

    def take(self, needed: Needed, waiter: str, wake: Callable[[], None]) -> ImageInfo | MeshError | None:
        """The image, or why it can't be had; None: not known yet, and `wake` is called once it is."""
        fetch = self._fetches.get(needed)
        if fetch is None or (fetch.result is not None and waiter not in fetch.waiters):
            fetch = self._fetches[needed] = _Fetch()
        if fetch.result is None:
            fetch.waiters[waiter] = wake
            self._asked.set()
            return None
        del fetch.waiters[waiter]
        if not fetch.waiters:
            del self._fetches[needed]
        return fetch.result

    async def run(self) -> None:
        """Fetch what is asked for, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(guarded("pulls", lambda: self._serve(group)))

    async def _serve(self, group: asyncio.TaskGroup) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            for needed, fetch in self._fetches.items():
                if not fetch.begun:
                    fetch.begun = True
                    group.create_task(self._fetch(needed, fetch))

    async def _fetch(self, needed: Needed, fetch: _Fetch) -> None:
        try:
            fetch.result = await self.get(needed)
        except MeshError as error:
            fetch.result = error
        except Exception as error:
            log.exception("image.failed", image=needed.image)
            fetch.result = ImageUnavailable(f"{needed.image}: {error}")
        for wake in list(fetch.waiters.values()):
            wake()

    async def get(self, needed: Needed) -> ImageInfo:
        """The image on this engine, fetched if need be. Raises ImageUnavailable, EngineUnavailable."""
        found = await self._engine.image(needed.reference)
        if found is not None:
            return found
        if needed.pull_policy == "never":
            raise ImageUnavailable(
                f"{needed.image} is not on this node, and its pull policy is never", hint="bring it: meshctl image push"
            )
        async with self._slots:
            # It may have come while this waited for its turn.
            return await self._engine.image(needed.reference) or await self._pull(needed)

    async def _pull(self, needed: Needed) -> ImageInfo:
        reference = needed.image_id if "@" in needed.image_id else needed.image
        self._teller.tell("image.pulling", image=needed.image, image_id=needed.image_id)
        tag = needed.image if reference != needed.image and "@" not in needed.image else ""
        pulled = await self._engine.pull(reference, needed.platform, self._progress(needed), tag=tag)
        await self._brought.add(pulled.id)
        if needed.image_id and "@" not in needed.image_id:
            pinned = await self._engine.image(needed.image_id)
            if pinned is None:
                raise ImageUnavailable(
                    f"the registry's {needed.image} is not the image that the service was deployed with",
                    hint="deploy again, or bring that image: meshctl image push",
                )
            pulled = pinned
        self._teller.tell("image.pulled", image=needed.image, image_id=needed.image_id or pulled.id)
        return pulled

    def _progress(self, needed: Needed) -> Callable[[PullProgress], None]:
        last = self._clock.monotonic()

        def tell(progress: PullProgress) -> None:
            nonlocal last
            now = self._clock.monotonic()
            if now - last < PROGRESS_EVERY:
                return
            last = now
            self._teller.tell(
                "image.pulling",
                image=needed.image,
                image_id=needed.image_id,
                current=progress.current,
                total=progress.total,
                status=progress.status,
            )

        return tell
