"""Programs that tests need beside a lab, out of Debian packages: unpacked into the cache, never installed."""

from __future__ import annotations

import platform
import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path

from lab import debian
from lab.images import cache_folder

LIBRARIES = f"{platform.machine()}-linux-gnu"


def program(package: str, *, without: Collection[str] = ()) -> Path:
    """The folder with a package's programs as they can be started; the machine's own if it has them.

    `without`: what it depends on and every machine has. Raises NotFound or Unreachable where it can't be had.
    """
    if found := shutil.which(package):
        return Path(found).parent
    target = cache_folder().parent / "programs" / package
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as work:
            root = Path(work, "root")
            root.mkdir()
            debian.unpack([package], without, root)
            _wrap(root / "usr/bin" / package, target / "usr", target / "start" / package, root / "start" / package)
            root.rename(target)
    return target / "start"


def _wrap(program: Path, prefix: Path, start: Path, script: Path) -> None:
    """A script that starts the program with the libraries it came with."""
    assert program.exists(), f"{program.name} has no program of its name"
    libraries = f"{prefix}/lib/{LIBRARIES}:{start.parent.parent}/lib/{LIBRARIES}"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH={libraries} exec {prefix}/bin/{program.name} "$@"\n')
    script.chmod(0o755)
