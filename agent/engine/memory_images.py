"""Images in memory, and a registry that engines in memory share."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field, replace

import msgspec

from agent.engine.archive import ArchivedImage
from agent.engine.memory_life import Program
from agent.engine.model import ImageInfo
from schemas.errors import ImageUnavailable


@dataclass(frozen=True)
class MemoryImage:
    """An image: what is told of it, and what its containers do."""

    info: ImageInfo
    program: Program
    config: bytes = b"{}"

    def named(self, tag: str) -> MemoryImage:
        """The same, with that tag as well."""
        return replace(self, info=replace(self.info, tags=tuple(dict.fromkeys((*self.info.tags, tag)))))


def make_image(tag: str, program: Program, architecture: str = "amd64") -> MemoryImage:
    """The image of that tag and program: its id is the digest of a config made of both."""
    config = msgspec.json.encode({"tag": tag, "program": repr(program), "architecture": architecture, "os": "linux"})
    digest = f"sha256:{hashlib.sha256(config).hexdigest()}"
    return MemoryImage(ImageInfo(digest, (tag,), size=len(config), architecture=architecture), program, config)


def same_reference(one: str, other: str) -> bool:
    """Whether two references mean one image: a missing tag is `latest`."""
    return _with_tag(one) == _with_tag(other)


def _with_tag(reference: str) -> str:
    if "@" in reference or reference.startswith("sha256:") or ":" in reference.rpartition("/")[2]:
        return reference
    return f"{reference}:latest"


@dataclass
class MemoryRegistry:
    """What engines in memory pull from. Programs of saved images are known to all engines that share it."""

    images: dict[str, MemoryImage] = field(default_factory=dict)
    """By reference."""
    reachable: bool = True
    pull_seconds: float = 0.0
    _programs: dict[str, MemoryImage] = field(default_factory=dict)

    def publish(self, tag: str, program: Program | None = None) -> str:
        """Put an image into the registry; its registry digest "name@sha256:..."."""
        image = make_image(tag, program or Program())
        name = tag.rpartition(":")[0] if ":" in tag.rpartition("/")[2] else tag
        digest = f"{name}@sha256:{hashlib.sha256(b'manifest of ' + image.config).hexdigest()}"
        image = replace(image, info=replace(image.info, digests=(digest,)))
        self.images[_with_tag(tag)] = self.images[digest] = image
        self.learn(image)
        return digest

    async def pull(self, reference: str, platform: str = "") -> MemoryImage:
        """The image of that reference. Raises ImageUnavailable."""
        await asyncio.sleep(self.pull_seconds)
        image = self.find(reference)
        if platform and image.info.architecture not in platform:
            raise ImageUnavailable(f"image {reference}: there is none for platform {platform}")
        return image

    def find(self, reference: str) -> MemoryImage:
        """What the registry means by the reference. Raises ImageUnavailable."""
        if not self.reachable:
            raise ImageUnavailable(f"image {reference}: the registry's name can't be resolved (no DNS)")
        image = self.images.get(_with_tag(reference))
        if image is None:
            raise ImageUnavailable(f"image {reference}: no such image in the registry, or no right to pull it")
        return image

    def learn(self, image: MemoryImage) -> None:
        """Remember what an image does, so that an engine that loads its archive knows."""
        self._programs[image.info.id] = image

    def known(self, found: ArchivedImage) -> MemoryImage:
        """The image that an archive tells of; one that nobody saved here does nothing particular."""
        known = self._programs.get(found.config)
        if known is None:
            return MemoryImage(ImageInfo(found.config, found.tags, architecture="amd64"), Program())
        return replace(known, info=replace(known.info, tags=found.tags))


class ImageShelf:
    """The images of one engine."""

    def __init__(self) -> None:
        self.held: dict[str, MemoryImage] = {}
        """By id."""

    def find(self, reference: str) -> MemoryImage | None:
        """The image with that id, tag or registry digest."""
        if reference in self.held:
            return self.held[reference]
        for _, image in sorted(self.held.items()):
            if any(same_reference(reference, name) for name in (*image.info.tags, *image.info.digests)):
                return image
        return None

    def keep(self, image: MemoryImage) -> ImageInfo:
        """Store an image; its tags leave the images that had them."""
        moved = set(image.info.tags)
        for key, other in self.held.items():
            if key != image.info.id and moved & set(other.info.tags):
                left = tuple(tag for tag in other.info.tags if tag not in moved)
                self.held[key] = replace(other, info=replace(other.info, tags=left))
        before = self.held.get(image.info.id)
        if before is not None:
            tags = tuple(dict.fromkeys((*before.info.tags, *image.info.tags)))
            digests = tuple(dict.fromkeys((*before.info.digests, *image.info.digests)))
            image = replace(image, info=replace(image.info, tags=tags, digests=digests))
        self.held[image.info.id] = image
        return image.info
