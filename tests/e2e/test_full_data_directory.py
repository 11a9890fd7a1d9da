"""A disk that is really full: what an agent obeys is saved all the same, and read by the next process."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.files import DataDirectory

pytestmark = [pytest.mark.docker]
"""Only because it needs root, for a small file system of its own."""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(disk: Path) -> None:
    with (disk / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    assert os.statvfs(disk).f_bavail == 0


async def test_what_is_obeyed_is_saved_on_a_full_disk(small_disk: Path) -> None:
    files = DataDirectory(small_disk / "agent")
    await files.write("tasks.json", b"{}")
    await files.write_reserved("assignment", b"first")
    fill(small_disk)
    with pytest.raises(OSError, match="No space left"):
        await files.write("tasks.json", b"x" * 10_000)
    for number in range(20):
        content = b"%d" % number * 10_000
        await files.write_reserved("assignment", content)
        later = DataDirectory(small_disk / "agent")
        assert await later.read_reserved("assignment") == content
        later.close()
    files.close()
