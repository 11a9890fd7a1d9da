"""Which images Dockmesh brought to this engine, and which ones services have used: what housekeeping may remove."""

from __future__ import annotations

import structlog

from agent.files import Files
from schemas.clock import Clock
from schemas.errors import BadMessage
from schemas.records import REVISIONS_KEPT
from schemas.wire import Seconds, Wire, decode, encode

FILE = "images.json"

log = structlog.get_logger()


class BroughtImages(Wire, frozen=True, kw_only=True):
    """The content of the file. Images are named by the engine's id."""

    images: dict[str, Seconds] = {}
    """Brought by Dockmesh -> when it was brought or last needed (wall clock)."""
    services: dict[str, tuple[str, ...]] = {}
    """Service -> the images of its last revisions that ran here, newest first."""


class Brought:
    """The lists, in memory and on disk."""

    def __init__(self, files: Files, clock: Clock) -> None:
        self._files = files
        self._clock = clock
        self.images: dict[str, float] = {}
        self.services: dict[str, tuple[str, ...]] = {}

    async def load(self) -> None:
        """Take over what an earlier process noted; without the file nothing is ours."""
        try:
            data = await self._files.read(FILE)
            saved = decode(data, BroughtImages) if data else BroughtImages()
        except (OSError, BadMessage) as error:
            log.error("images.not_read", error=str(error))
            return
        self.images, self.services = dict(saved.images), dict(saved.services)

    async def add(self, image: str) -> None:
        """Dockmesh has pulled or loaded it."""
        self.images[image] = self._clock.wall()
        await self.save()

    async def used(self, image: str, service: str) -> None:
        """A task of that service needs it now."""
        if image in self.images:
            self.images[image] = self._clock.wall()
        before = self.services.get(service, ())
        after = (image, *(other for other in before if other != image))[:REVISIONS_KEPT]
        if after != before:
            self.services[service] = after
            await self.save()

    async def drop(self, image: str) -> None:
        """It is gone."""
        self.images.pop(image, None)
        await self.save()

    async def save(self) -> None:
        """Write both lists."""
        try:
            await self._files.write(FILE, encode(BroughtImages(images=self.images, services=self.services)))
        except OSError as error:
            log.error("images.not_saved", error=str(error))
