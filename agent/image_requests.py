"""Answers what images this node has, and what a reference means here."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, cast

from agent.engine.archive import ArchiveReader
from agent.engine.model import ImageInfo
from agent.engine.port import Engine
from schemas.errors import ImageUnavailable
from schemas.nodeapi import ImageList, ImageView, ListImages, ResolvedImage, ResolveImage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class ImageDesk:
    """image_resolve and image_list."""

    def __init__(self, node: str, engine: Engine) -> None:
        self._node = node
        self._engine = engine
        self._configs: dict[str, str] = {}
        """Engine's id -> digest of the image's config, where these differ."""

    async def resolve(self, request: ResolveImage) -> ResolvedImage:
        """What the reference is on this node; else, if that is wanted, what its registry says. Nothing is fetched."""
        found = await self._engine.image(request.image)
        # A node that has an image of its own making asks no registry: nobody there would know it.
        if (found is None and request.pull == "missing") or (request.pull == "always" and not _own(found)):
            try:
                return ResolvedImage(node=self._node, image_id=await self._engine.digest(request.image))
            except ImageUnavailable as error:
                if found is None:
                    return ResolvedImage(node=self._node, error=_line(error))
        if found is None:
            return ResolvedImage(node=self._node, error=f"{request.image} is not on this node")
        return ResolvedImage(node=self._node, image_id=await self._identity(found, request.image), present=True)

    async def _identity(self, info: ImageInfo, reference: str) -> str:
        """The registry's digest if there is one, else the digest of its config."""
        name = repository_of(reference)
        digests = [digest for digest in info.digests if repository_of(digest) == name] or list(info.digests)
        if digests:
            return sorted(digests)[0]
        if info.id_is_config:
            return info.id
        if info.id not in self._configs:
            self._configs[info.id] = await self._config_digest(info.id)
        return self._configs[info.id]

    async def _config_digest(self, image: str) -> str:
        reader = ArchiveReader()
        async with aclosing(cast("AsyncGenerator[bytes, None]", self._engine.save(image))) as chunks:
            async for chunk in chunks:
                reader.feed(chunk)
        return reader.images()[0].config

    async def list(self, request: ListImages) -> ImageList:  # noqa: ARG002 - it asks for all
        """All images of this node's engine."""
        images = await self._engine.images()
        views = tuple(
            ImageView(image_id=one.id, tags=one.tags, size=max(0, one.size), created=max(0.0, one.created_at))
            for one in images
        )
        return ImageList(node=self._node, images=views)


def repository_of(reference: str) -> str:
    """The full name without tag and digest: web:1.2 is docker.io/library/web."""
    name = reference.partition("@")[0]
    head, slash, tail = name.rpartition("/")
    name = head + slash + tail.partition(":")[0]
    first, slash, rest = name.partition("/")
    if not slash:
        return f"docker.io/library/{name}"
    if "." in first or ":" in first or first == "localhost":
        return f"docker.io/{rest}" if first == "index.docker.io" else name
    return f"docker.io/{name}"


def _own(found: ImageInfo | None) -> bool:
    return found is not None and not found.digests


def _line(error: ImageUnavailable) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message
