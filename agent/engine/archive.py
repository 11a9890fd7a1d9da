"""What images a docker-save (or OCI layout) archive holds: a push parser in bounded memory.

Needed where an engine's image id is not the digest of the image's config (containerd stores): the config digest,
which is equal on all engines, stands in the archive's manifest. Only small JSON members are kept.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from schemas.errors import BadMessage
from schemas.wire import UNDECODABLE

BLOCK = 512
KEEP_MEMBER = 256 * 1024
KEEP_TOTAL = 4 * 1024 * 1024
"""Members up to that size are kept, until so many bytes are."""

_REGULAR = frozenset({b"0", b"\0", b"7"})


@dataclass(frozen=True)
class ArchivedImage:
    """One image of an archive. `config` is "sha256:..."."""

    config: str
    tags: tuple[str, ...] = ()


class ArchiveReader:
    """Takes an archive's bytes as they come. `images()` after the last."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._name = ""
        self._left = 0
        """Bytes of the current member (with its padding) still to come."""
        self._size = 0
        self._keeps = False
        self._kept = 0
        self._members: dict[str, bytes] = {}

    def feed(self, data: bytes) -> None:
        """The next bytes. Raises BadMessage if they can't be those of an archive."""
        self._buffer += data
        while self._step():
            pass

    def _step(self) -> bool:
        if self._left:
            return self._read_member()
        if len(self._buffer) < BLOCK:
            return False
        header = bytes(self._buffer[:BLOCK])
        del self._buffer[:BLOCK]
        if header.count(0) < BLOCK:
            self._open_member(header)
        return True

    def _open_member(self, header: bytes) -> None:
        try:
            member = tarfile.TarInfo.frombuf(header, "utf-8", "replace")
        except tarfile.HeaderError as error:
            raise BadMessage(f"not an image archive: {error}") from error
        self._name, self._size = member.name.removeprefix("./"), member.size
        self._left = -(-member.size // BLOCK) * BLOCK
        small = self._size <= KEEP_MEMBER and self._kept + self._size <= KEEP_TOTAL
        self._keeps = small and member.type in _REGULAR

    def _read_member(self) -> bool:
        if self._keeps and len(self._buffer) < self._left:
            return False
        taken = min(self._left, len(self._buffer))
        if self._keeps:
            self._members[self._name] = bytes(self._buffer[: self._size])
            self._kept += self._size
        del self._buffer[:taken]
        self._left -= taken
        return taken > 0

    def images(self) -> tuple[ArchivedImage, ...]:
        """The images of the archive. Raises BadMessage if it names none."""
        found = _from_manifest(self._members) or _from_index(self._members)
        if not found:
            raise BadMessage("not an image archive: neither manifest.json nor index.json names an image")
        return found


def _from_manifest(members: Mapping[str, bytes]) -> tuple[ArchivedImage, ...]:
    entries = _json(members.get("manifest.json"))
    if not isinstance(entries, list):
        return ()
    images = (
        ArchivedImage(_digest(str(entry.get("Config", ""))), tuple(entry.get("RepoTags") or ()))
        for entry in entries
        if isinstance(entry, dict)
    )
    return tuple(image for image in images if image.config)


def _from_index(members: Mapping[str, bytes]) -> tuple[ArchivedImage, ...]:
    index = _json(members.get("index.json"))
    return tuple(_walk(index, members, depth=0)) if isinstance(index, dict) else ()


def _walk(document: Mapping[str, Any], members: Mapping[str, bytes], *, depth: int) -> Iterable[ArchivedImage]:
    """The images below an OCI index: of its manifests, and of the indexes that it names."""
    config = document.get("config")
    if isinstance(config, dict):
        yield ArchivedImage(str(config.get("digest", "")))
    below = document.get("manifests")
    for entry in below if isinstance(below, list) and depth < 4 else ():
        digest = str(entry.get("digest", ""))
        inner = _json(members.get(f"blobs/{digest.replace(':', '/')}"))
        name = (entry.get("annotations") or {}).get("io.containerd.image.name", "")
        for image in _walk(inner, members, depth=depth + 1) if isinstance(inner, dict) else ():
            yield ArchivedImage(image.config, image.tags or ((name,) if name else ()))


def _digest(config: str) -> str:
    """The digest in a member's name: "<hex>.json" of old engines, "blobs/sha256/<hex>" of new ones."""
    name = config.removesuffix(".json").rpartition("/")[2]
    return f"sha256:{name}" if len(name) == 64 and set(name) <= set("0123456789abcdef") else ""


def _json(data: bytes | None) -> object:
    try:
        return msgspec.json.decode(data) if data is not None else None
    except UNDECODABLE:
        return None


def build_archive(config: bytes, tags: tuple[str, ...], layers: tuple[bytes, ...] = ()) -> bytes:
    """A docker-save archive in memory: for the memory engine and for tests."""
    digest = hashlib.sha256(config).hexdigest()
    names = [f"{hashlib.sha256(layer).hexdigest()}.tar" for layer in layers]
    manifest = msgspec.json.encode([{"Config": f"{digest}.json", "RepoTags": list(tags), "Layers": names}])
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, data in ((f"{digest}.json", config), *zip(names, layers, strict=True), ("manifest.json", manifest)):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return target.getvalue()
