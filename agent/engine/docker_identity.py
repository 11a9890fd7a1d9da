"""Finding an image by the digest of its config where the engine's ids are something else.

Classic stores name an image by the digest of its config. containerd stores (the default since Docker 29) name it by its
manifest, which depends on how it got there; the config digest is equal on all engines, and stands in the archive that
the engine would save. Reading that costs once per image; what was read is remembered as long as the process lives.
"""

from __future__ import annotations

from agent.engine.archive import ArchiveReader
from agent.engine.docker_calls import image, images, save
from agent.engine.docker_client import Api
from agent.engine.model import ImageInfo
from schemas.errors import BadMessage


class ConfigDigests:
    """The config digests of one engine's images, as far as they were looked up."""

    def __init__(self) -> None:
        self._known: dict[str, frozenset[str]] = {}
        """Engine's id -> digests of the configs that it stands for (one for each platform that is here)."""

    def remembered(self, digest: str) -> str | None:
        """The engine's id of the image with that config, if it was met before."""
        return next((id_ for id_, configs in sorted(self._known.items()) if digest in configs), None)

    def find(self, api: Api, digest: str) -> ImageInfo | None:
        """The image with that config; looks into the images that are new since the last time. Runs in a thread."""
        for id_ in (one.id for one in images(api)):
            if id_ not in self._known:
                self._known[id_] = _configs(api, id_)
            if digest in self._known[id_]:
                return image(api, id_, manifest_ids=True)
        return None


def _configs(api: Api, reference: str) -> frozenset[str]:
    reader = ArchiveReader()
    try:
        for chunk in save(api, reference):
            reader.feed(chunk)
        return frozenset(found.config for found in reader.images())
    except BadMessage:
        return frozenset()
