"""The images of the examples and tests, made once from packages and files and kept in a cache.

A definition is `examples/images/<name>/image.json` with a folder `rootfs` beside it. Run: scripts/build-images
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab import debian
from lab.archive import write_archive
from schemas.errors import MeshError, NotFound
from schemas.wire import Manifest, decode

DEFINITIONS = Path(__file__).parent.parent / "examples" / "images"
KEPT = 24 * 3600.0
"""Seconds that an archive is kept after a newer one of its image has been made."""
LAYOUT = "merged-usr"
"""How packages are laid into an image; another name for another way, since archives are kept."""
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class Definition(Manifest, frozen=True, kw_only=True):
    """An image: packages, files, and the engine's config."""

    tag: str
    packages: tuple[str, ...]
    without: tuple[str, ...] = ()
    """Packages that others depend on and this image does not need."""
    drop: tuple[str, ...] = ()
    """Glob patterns of files that it does not need."""
    folders: tuple[str, ...] = ()
    """Empty folders to make."""
    links: dict[str, str] = {}
    """Symbolic links to make: path -> target."""
    config: dict[str, Any]
    also: dict[str, dict[str, Any]] = {}
    """Further images of the same files: tag -> what is different in their config."""

    @property
    def images(self) -> dict[str, dict[str, Any]]:
        """Tag -> config of all."""
        others = {tag: {**self.config, **different} for tag, different in self.also.items()}
        return {self.tag: self.config, **others}


def cache_folder() -> Path:
    """Where archives are kept: $DOCKMESH_CACHE, else dockmesh below the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    default = (Path(base) if base else Path.home() / ".cache") / "dockmesh"
    return Path(os.environ.get("DOCKMESH_CACHE", default)) / "images"


def known() -> tuple[str, ...]:
    """The names of all definitions."""
    return tuple(sorted(file.parent.name for file in DEFINITIONS.glob("*/image.json")))


def build(name: str, *, fresh: bool = False) -> Path:
    """The archive of an image, made if the cache does not have it. Raises NotFound, Unreachable."""
    folder = DEFINITIONS / name
    try:
        text = (folder / "image.json").read_bytes()
    except FileNotFoundError:
        raise NotFound(f"there is no image {name!r}", hint=f"there are {', '.join(known())}") from None
    definition = decode(text, Definition)
    target = cache_folder() / f"{name}-{_key(folder)}.tar"
    if fresh or not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="dockmesh-image-") as work:
            root = Path(work) / "root"
            root.mkdir()
            fill(root, definition, folder / "rootfs")
            write_archive(target, definition.images, root, ARCHITECTURES[platform.machine()])
        _forget_older(name, target)
    return target


def fill(root: Path, definition: Definition, files: Path) -> None:
    """Make the file system of an image in `root`."""
    merge_usr(root)
    debian.unpack(definition.packages, definition.without, root)
    for pattern in definition.drop:
        for path in sorted(root.glob(pattern)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    for folder in definition.folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder).chmod(0o1777 if folder == "tmp" else 0o755)
    for name, target in definition.links.items():
        link = root / name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists() and not link.is_symlink():
            link.symlink_to(target)
    if files.exists():
        shutil.copytree(files, root, dirs_exist_ok=True, symlinks=True)


def merge_usr(root: Path) -> None:
    """Have /bin, /sbin and /lib be names for what is below /usr: which of both packages use varies by release."""
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / name).mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(f"usr/{name}")


def _key(folder: Path) -> str:
    """Names what the archive is made from: definition, files, the system whose packages are taken, their layout."""
    text = hashlib.sha256(f"{LAYOUT} {platform.machine()} {_release()}".encode())
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            text.update(f"\0{path.relative_to(folder)}\0{path.stat().st_mode & 0o111}\0".encode())
            text.update(path.read_bytes())
    return text.hexdigest()[:12]


def _release() -> str:
    release = platform.freedesktop_os_release()
    return f"{release.get('ID', '')} {release.get('VERSION_ID', '')}"


def _forget_older(name: str, current: Path) -> None:
    """Those of today stay: another checkout may be using them."""
    outdated = current.stat().st_mtime - KEPT
    for archive in current.parent.glob(f"{name}-????????????.tar"):
        if archive != current and archive.stat().st_mtime < outdated:
            archive.unlink(missing_ok=True)


def main(arguments: Sequence[str]) -> int:
    """Build the named images (default: all) and print the paths of their archives."""
    fresh = "--fresh" in arguments
    try:
        for name in [each for each in arguments if each != "--fresh"] or known():
            print(build(name, fresh=fresh))  # noqa: T201  (this is the program's answer)
    except MeshError as error:
        print(f"build-images: {error.message}", error.hint and f"\n  -> {error.hint}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
