"""A container engine in memory, in the loop's time: product code for simulation, rehearsals and tests.

Deterministic: chance comes from the `Random` that is passed in, time from the loop and the injected clock. Faults are
in `engine.faults`, programs of images in `engine.add_image`. It never waits for anything outside of the loop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from agent.engine.archive import ArchiveReader, build_archive
from agent.engine.labels import Owner
from agent.engine.memory_containers import MemoryContainers
from agent.engine.memory_images import make_image
from agent.engine.memory_life import Program
from agent.engine.model import (
    EngineInfo,
    EngineNetwork,
    ImageInfo,
    PullProgress,
    Volume,
)
from agent.engine.plans import NetworkPlan, VolumePlan
from schemas.errors import Conflict, NotFound
from schemas.observation import BoundPort

SAVE_CHUNK = 64 * 1024


class MemoryEngine(MemoryContainers):
    """An `Engine`. Public besides the port: `faults`, `lives`, `add_image` and the methods that do harm."""

    def add_image(self, tag: str, program: Program | None = None) -> ImageInfo:
        """The engine has an image of that tag from now; equal tags and programs give equal ids on all engines."""
        return self.shelf.keep(make_image(tag, program or Program()))

    async def info(self) -> EngineInfo:
        await self._before("info")
        return self.facts

    async def image(self, reference: str) -> ImageInfo | None:
        await self._before("image")
        found = self.shelf.find(reference)
        return found.info if found else None

    async def images(self) -> tuple[ImageInfo, ...]:
        await self._before("images")
        return tuple(self.shelf.held[key].info for key in sorted(self.shelf.held))

    async def digest(self, reference: str) -> str:
        await self._before("digest")
        return self._registry.find(reference).info.digests[0]

    async def pull(
        self,
        reference: str,
        platform: str = "",
        progress: Callable[[PullProgress], None] | None = None,
        *,
        tag: str = "",
    ) -> ImageInfo:
        await self._before("pull")
        if progress:
            progress(PullProgress(reference, "Downloading"))
        image = await self._registry.pull(reference, platform)
        self.faults.after("pull", self._chance)
        return self.shelf.keep(image.named(tag) if tag else image)

    async def load(self, chunks: AsyncIterator[bytes]) -> tuple[str, ...]:
        await self._before("load")
        reader = ArchiveReader()
        async for chunk in chunks:
            reader.feed(chunk)
        names: list[str] = []
        for found in reader.images():
            self.shelf.keep(self._registry.known(found))
            names += found.tags or (found.config,)
        return tuple(names)

    async def save(self, reference: str) -> AsyncIterator[bytes]:
        await self._before("save")
        found = self.shelf.find(reference)
        if found is None:
            raise NotFound(f"no such image: {reference}")
        self._registry.learn(found)
        data = build_archive(found.config, found.info.tags)
        for start in range(0, len(data), SAVE_CHUNK):
            yield data[start : start + SAVE_CHUNK]

    async def remove_image(self, reference: str) -> None:
        await self._before("remove_image")
        found = self.shelf.find(reference)
        if found is None:
            return
        users = [life.view.name for life in self.lives.values() if life.view.image == found.info.id]
        if users:
            raise Conflict(f"image {reference} is used by container {users[0]}")
        del self.shelf.held[found.info.id]

    async def volumes(self) -> tuple[Volume, ...]:
        await self._before("volumes")
        return tuple(self._volumes[name] for name in sorted(self._volumes))

    async def create_volume(self, plan: VolumePlan) -> None:
        await self._before("create_volume")
        self._ensure_volume(plan)

    async def remove_volume(self, name: str) -> None:
        await self._before("remove_volume")
        if name not in self._volumes:
            raise NotFound(f"no such volume: {name}")
        for life in self.lives.values():
            if any(volume.name == name for volume in life.plan.volumes):
                raise Conflict(f"volume {name} is used by container {life.view.name}")
        del self._volumes[name]

    async def networks(self, owner: Owner) -> tuple[EngineNetwork, ...]:
        await self._before("networks")
        return self.nets.of(owner)

    async def create_network(self, plan: NetworkPlan) -> None:
        await self._before("create_network")
        self.nets.create(plan)

    async def remove_network(self, name: str, owner: Owner) -> None:
        await self._before("remove_network")
        self.nets.remove(name, owner, [life.view.addresses for life in self.lives.values() if life.view.alive])

    async def other_ports(self, owner: Owner) -> tuple[BoundPort, ...]:
        await self._before("other_ports")
        others = (life.view for life in self.lives.values() if not owner.owns(life.view.labels))
        return tuple(port for view in others for port in view.ports)

    async def path_exists(self, path: str) -> bool:
        return path in self.paths

    async def close(self) -> None:
        for life in self.lives.values():
            life.forget_plans()
