"""Control groups of labs, in whichever version the host mounts: /<hierarchy>/dockmesh-lab/<lab>/<machine>."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


def hierarchies() -> tuple[Path, ...]:
    """The mounted hierarchies: one for version 2, one for each controller for version 1."""
    if (ROOT / "cgroup.procs").exists():
        return (ROOT,)
    return tuple(
        folder for folder in sorted(ROOT.glob("*")) if not folder.is_symlink() and (folder / "cgroup.procs").exists()
    )


def make(group: str) -> tuple[str, ...]:
    """Make the group of a machine's own processes; returns the folders to join."""
    folders = []
    for root in hierarchies():
        if root.name == "cpuset":
            continue  # a new group of version 1 has no processors: nothing could run in it
        folder = root / group / "services"
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            folders.append(str(folder))
    return tuple(folders)


def remove(group: str, *, patience: float = 3.0) -> None:
    """Remove the group and all below it; its processes have ended, or are about to."""
    deadline = time.monotonic() + patience
    for root in hierarchies():
        folder = root / group
        while folder.exists() and not _removed(folder) and time.monotonic() < deadline:
            time.sleep(0.02)


def left(prefix: str) -> tuple[Path, ...]:
    """The groups that exist with this name."""
    return tuple(root / prefix for root in hierarchies() if (root / prefix).exists())


def _removed(folder: Path) -> bool:
    for at, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):
            Path(at).rmdir()
    return not folder.exists()
