"""Debian packages unpacked into a folder, never installed: what the examples' images are made of."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from schemas.errors import NotFound, Unreachable

_DEPENDENCY = re.compile(r"^ ([ |])(?:Pre)?Depends: (\S+)$")
_ONLY_DEPENDS = tuple(
    f"--no-{kind}" for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
)


def unpack(packages: Sequence[str], without: Collection[str], root: Path) -> None:
    """Unpack packages with all they depend on, but not what is in `without` (nor what only that depends on).

    Raises NotFound (no apt here, or no such package) or Unreachable (the archive).
    """
    for tool in ("apt-get", "apt-cache", "dpkg"):
        if shutil.which(tool) is None:
            raise NotFound(f"the examples' images are made of Debian packages, and there is no {tool} here")
    try:
        _download_and_unpack(packages, without, root)
    except (NotFound, Unreachable):
        if os.geteuid() != 0:
            raise
        _run("apt-get", "-q", "-o", "DPkg::Lock::Timeout=300", "update")  # lists are missing or out of date
        _download_and_unpack(packages, without, root)


def _download_and_unpack(packages: Sequence[str], without: Collection[str], root: Path) -> None:
    text = _run("apt-cache", *_ONLY_DEPENDS, "--recurse", "depends", *packages)
    wanted = closure(packages, without, dependencies(text))
    with tempfile.TemporaryDirectory(prefix="dockmesh-packages-") as folder:
        Path(folder).chmod(0o755)
        _run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *wanted, folder=folder)
        for file in sorted(Path(folder).glob("*.deb")):
            extract(file, root)


def extract(package: Path, root: Path) -> None:
    """Unpack one package file; folders that are symbolic links in `root` stay so. Raises Unreachable: it can't be."""
    with tempfile.NamedTemporaryFile(suffix=".tar") as files:
        _run("sh", "-c", 'exec dpkg-deb --fsys-tarfile "$0" > "$1"', str(package), files.name)
        _run("tar", "-x", "-p", "--keep-directory-symlink", "-f", files.name, "-C", str(root))


def closure(packages: Sequence[str], without: Collection[str], depends: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The packages and all that they need, sorted."""
    found: set[str] = set()
    ahead = list(packages)
    while ahead:
        package = ahead.pop()
        if package not in found:
            found.add(package)
            ahead.extend(each for each in depends.get(package, ()) if each not in without)
    return tuple(sorted(found))


def dependencies(text: str) -> dict[str, list[str]]:
    """What each package needs, by `apt-cache depends`; of alternatives the first, of virtual packages none."""
    found: dict[str, list[str]] = {}
    needed: list[str] = []
    follows_alternative = False
    for line in text.splitlines():
        if not line.startswith(" "):
            needed = found.setdefault(line.strip(), [])
        elif match := _DEPENDENCY.match(line):
            if not follows_alternative and not match[2].startswith("<"):
                needed.append(match[2].partition(":")[0])
            follows_alternative = match[1] == "|"
    return found


def _run(*argv: str, folder: str | None = None) -> str:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return done.stdout
    words = done.stderr.strip() or done.stdout.strip()
    if "No packages found" in words or "Unable to locate" in words:
        raise NotFound(f"{argv[-1]}: no such package here: {words}", hint="apt-get update")
    raise Unreachable(f"{' '.join(argv[:4])}: {words[-500:]}")
