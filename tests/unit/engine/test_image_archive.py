"""Which images an archive holds, read in pieces of any size."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile

import pytest

from agent.engine.archive import KEEP_MEMBER, ArchivedImage, ArchiveReader, build_archive
from schemas.errors import BadMessage

CONFIG = b'{"architecture":"amd64","os":"linux"}'
DIGEST = f"sha256:{hashlib.sha256(CONFIG).hexdigest()}"


def tar_of(members: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return target.getvalue()


def read(data: bytes, size: int = 1000) -> tuple[ArchivedImage, ...]:
    reader = ArchiveReader()
    for start in range(0, len(data), size):
        reader.feed(data[start : start + size])
    return reader.images()


@pytest.mark.parametrize("size", [1, 100, 512, 4096, 10**6])
def test_an_archive_of_a_classic_store_names_its_configs(size: int) -> None:
    data = build_archive(CONFIG, ("web:1", "web:latest"), (b"x" * (KEEP_MEMBER + 5), b"small"))
    assert read(data, size) == (ArchivedImage(DIGEST, ("web:1", "web:latest")),)


def test_an_archive_of_a_new_engine_keeps_configs_among_its_blobs() -> None:
    name = DIGEST.replace(":", "/")
    manifest = [{"Config": f"blobs/{name}", "RepoTags": ["web:1"], "Layers": []}]
    data = tar_of({f"blobs/{name}": CONFIG, "./manifest.json": json.dumps(manifest).encode()})
    assert read(data) == (ArchivedImage(DIGEST, ("web:1",)),)


def test_an_oci_layout_is_followed_from_its_index() -> None:
    def blob(data: bytes) -> tuple[str, str]:
        digest = hashlib.sha256(data).hexdigest()
        return f"sha256:{digest}", f"blobs/sha256/{digest}"

    manifest = json.dumps({"config": {"digest": DIGEST}, "layers": []}).encode()
    manifest_digest, manifest_name = blob(manifest)
    inner = json.dumps({"manifests": [{"digest": manifest_digest}]}).encode()
    inner_digest, inner_name = blob(inner)
    named = {"digest": inner_digest, "annotations": {"io.containerd.image.name": "docker.io/library/web:1"}}
    index = json.dumps({"manifests": [named]}).encode()
    data = tar_of({manifest_name: manifest, inner_name: inner, "index.json": index})
    assert read(data) == (ArchivedImage(DIGEST, ("docker.io/library/web:1",)),)


@pytest.mark.parametrize(
    "data",
    [b"", b"no archive at all " * 100, tar_of({"readme": b"hello"}), tar_of({"manifest.json": b"no json"}),
     tar_of({"manifest.json": b'[{"Config": "../../etc/passwd"}]'}), tar_of({"manifest.json": b'{"a": 1}'})],
)  # fmt: skip
def test_what_is_no_image_archive_is_refused(data: bytes) -> None:
    with pytest.raises(BadMessage, match="not an image archive"):
        read(data)


def test_a_large_archive_is_read_in_bounded_memory() -> None:
    reader = ArchiveReader()
    member = tarfile.TarInfo("layer.tar")
    member.size = 1 << 40
    reader.feed(member.tobuf())
    for _ in range(100):
        reader.feed(b"\0" * 65536)
    assert len(reader._buffer) < 65536
