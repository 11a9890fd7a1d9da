"""Nothing that a test run has started outlives it, not even a `kill -9` of pytest.

Every process that a run starts inherits a mark in its environment. A small process beside it waits for the run's end
(its standard input closes then, however it ends), and kills whatever bears the mark. Machines of labs have an
environment of their own: those are the lab's to find again (`lab.folders`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

VARIABLE = "DOCKMESH_TEST_RUN"


def guard() -> subprocess.Popen[bytes]:
    """Mark this process's children from now on, and have them killed when it ends. Close its stdin to end it."""
    mark = f"{os.getpid()}-{time.time_ns()}"
    os.environ[VARIABLE] = mark
    return subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, mark],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={},
    )


def marked(mark: str) -> list[int]:
    """The processes that bear the mark."""
    wanted = f"{VARIABLE}={mark}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
    return found


def main() -> None:
    """Wait for the end of whoever holds the other end of stdin; then kill, until nobody is left."""
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    for _ in range(20):
        left = marked(sys.argv[1])
        if not left:
            return
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


if __name__ == "__main__":
    main()
