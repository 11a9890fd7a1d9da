"""Docker archives (what `docker load` takes) written straight from a folder; the same folder gives the same bytes.

So an image is built once and brought everywhere by load, and every engine has it under the same config digest.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

EPOCH = "1970-01-01T00:00:00Z"


def write_archive(
    target: Path, images: Mapping[str, Mapping[str, Any]], root: Path, architecture: str
) -> dict[str, str]:
    """Write `root` as images of one and the same layer to `target`; returns tag -> digest of its config ("sha256:...").

    `images`: tag -> what Docker calls the image's config (Cmd, Env, Healthcheck, ...), in the engine's own spelling.
    """
    layer = layer_of(root)
    diff = hashlib.sha256(layer).hexdigest()
    configs = {tag: _image(config, diff, architecture) for tag, config in images.items()}
    digests = {tag: hashlib.sha256(config).hexdigest() for tag, config in configs.items()}
    manifest = [
        {"Config": f"{digest}.json", "Layers": [f"{diff}/layer.tar"], "RepoTags": [tag]}
        for tag, digest in digests.items()
    ]
    files = {f"{digests[tag]}.json": config for tag, config in configs.items()}
    files |= {f"{diff}/layer.tar": layer, "manifest.json": _json(manifest)}
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    with tarfile.open(fresh, "w", format=tarfile.GNU_FORMAT) as archive:
        folder = _plain(tarfile.TarInfo(diff), 0o755)
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, data in sorted(files.items()):
            entry = _plain(tarfile.TarInfo(name), 0o644)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    fresh.replace(target)
    return {tag: f"sha256:{digest}" for tag, digest in digests.items()}


def _image(config: Mapping[str, Any], diff: str, architecture: str) -> bytes:
    return _json(
        {
            "architecture": architecture,
            "config": dict(config),
            "created": EPOCH,
            "history": [{"created": EPOCH, "created_by": "dockmesh build-images"}],
            "os": "linux",
            "rootfs": {"diff_ids": [f"sha256:{diff}"], "type": "layers"},
        }
    )


def layer_of(root: Path) -> bytes:
    """The folder as a tar: sorted, owned by root, without times; only folders, files and links."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as layer:
        for path in _walk(root):
            found = path.lstat()
            entry = _plain(tarfile.TarInfo(str(path.relative_to(root))), stat.S_IMODE(found.st_mode))
            if path.is_symlink():
                entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, str(path.readlink()), 0o777
                layer.addfile(entry)
            elif path.is_dir():
                entry.type = tarfile.DIRTYPE
                layer.addfile(entry)
            elif path.is_file():
                entry.size = found.st_size
                with path.open("rb") as content:
                    layer.addfile(entry, content)
    return buffer.getvalue()


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path)


def _plain(entry: tarfile.TarInfo, mode: int) -> tarfile.TarInfo:
    entry.mode, entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname = mode, 0, 0, 0, "", ""
    return entry


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
