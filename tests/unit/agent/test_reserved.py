"""What stands in room that was taken beforehand: replaced on a full disk, and whole after a power cut at any byte."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from agent.files import DataDirectory, Files, MemoryFiles
from agent.reserved import COPIES, MARGIN, ROOM, read_reserved, room_for, write_reserved
from tests.sim.machines import Disk

NAME = "assignment"


@pytest.mark.parametrize(
    "made", [DataDirectory, lambda _: MemoryFiles(), lambda _: Disk()], ids=["disk", "memory", "sim"]
)
async def test_the_last_content_is_read(made: Callable[[Path], Files], tmp_path: Path) -> None:
    files = made(tmp_path / "agent")
    assert await files.read_reserved(NAME) is None
    for content in (b"one", b"two" * ROOM, b"", b"four"):
        await files.write_reserved(NAME, content)
        assert await files.read_reserved(NAME) == content
    await files.write_reserved("other", b"apart")
    assert await files.read_reserved(NAME) == b"four"


def test_a_copy_that_was_cut_off_at_any_byte_leaves_the_one_before(tmp_path: Path) -> None:
    write_reserved(tmp_path, NAME, b"old")
    write_reserved(tmp_path, NAME, b"present")
    older = tmp_path / f"{NAME}.{COPIES[0]}"
    before = older.read_bytes()
    write_reserved(tmp_path, NAME, b"newest")
    after = older.read_bytes()
    assert before != after, "the older copy is the one that is written over"
    length = max(place for place in range(len(after)) if after[place] != before[place]) + 1
    for cut in range(length):
        older.write_bytes(after[:cut] + before[cut:])
        assert read_reserved(tmp_path, NAME) == b"present"
        write_reserved(tmp_path, NAME, b"next")
        assert read_reserved(tmp_path, NAME) == b"next"
        for name in COPIES:
            (tmp_path / f"{NAME}.{name}").unlink()
        write_reserved(tmp_path, NAME, b"old")
        write_reserved(tmp_path, NAME, b"present")
    older.write_bytes(after)
    assert read_reserved(tmp_path, NAME) == b"newest"


def test_where_no_copy_is_whole_it_says_so(tmp_path: Path) -> None:
    write_reserved(tmp_path, NAME, b"old")
    write_reserved(tmp_path, NAME, b"new")
    for name in COPIES:
        path = tmp_path / f"{NAME}.{name}"
        whole = path.read_bytes()
        path.write_bytes(whole.replace(b"old", b"odd").replace(b"new", b"now"))
    with pytest.raises(OSError, match="no copy of it is whole"):
        read_reserved(tmp_path, NAME)
    write_reserved(tmp_path, NAME, b"again")
    assert read_reserved(tmp_path, NAME) == b"again"


def test_a_disk_that_gives_no_more_room_takes_what_fits_and_refuses_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write_reserved(tmp_path, NAME, b"small")
    assert [(tmp_path / f"{NAME}.{name}").stat().st_size for name in COPIES] == [ROOM, ROOM]
    monkeypatch.setattr(os, "posix_fallocate", full)
    fits = b"x" * (ROOM // MARGIN + 1)
    assert room_for(len(fits)) > ROOM, "it would like more, and does without"
    for content in (fits, b"y" + fits, fits):
        write_reserved(tmp_path, NAME, content)
        assert read_reserved(tmp_path, NAME) == content
    with pytest.raises(OSError, match="No space"):
        write_reserved(tmp_path, NAME, b"x" * ROOM)
    assert read_reserved(tmp_path, NAME) == fits
    with pytest.raises(OSError, match="No space"):
        write_reserved(tmp_path, "new", b"small")


WRITER = """
import sys
from pathlib import Path
from agent.reserved import write_reserved
for number in range(10**9):
    write_reserved(Path(sys.argv[1]), "assignment", (b"%d " % number) * 5000)
    print(number, flush=True)
"""


def test_a_process_that_is_killed_while_it_writes_leaves_what_it_told_or_the_next(tmp_path: Path) -> None:
    told = -1
    for _ in range(5):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            for _ in range(20):
                told = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
            told = max([told, *map(int, writer.stdout.read().split())])
        content = read_reserved(tmp_path, NAME)
        assert content is not None
        assert content in {(b"%d " % number) * 5000 for number in (told, told + 1)}
