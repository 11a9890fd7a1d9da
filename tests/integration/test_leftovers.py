"""A test run that is killed leaves no process behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
NESTED = """
import subprocess
import sys
import time


def test_sleeps(nats_server):
    child = subprocess.Popen([sys.executable, "-c", "import subprocess; subprocess.run(['sleep', '1000'])"])
    with open({told!r}, "w") as told:
        told.write(f"{{nats_server._process.pid}} {{child.pid}}\\n")
    time.sleep(1000)
"""


def alive(pid: int) -> bool:
    """Whether a process runs (one that has ended and was not waited for does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def descendants(pid: int) -> list[int]:
    """The processes below one."""
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout.split()
    return [each for child in map(int, children) for each in (child, *descendants(child))]


def test_a_killed_run_leaves_no_server_and_no_grandchild(tmp_path: Path) -> None:
    told, file = tmp_path / "told", tmp_path / "test_nested.py"
    file.write_text(NESTED.format(told=str(told)))
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-c", os.devnull, "--rootdir", str(tmp_path)]
    command += ["-p", "tests.conftest", "-p", "no:cacheprovider", str(file)]
    with (tmp_path / "said").open("wb") as said:
        run = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said)
    try:
        deadline = time.monotonic() + 60
        while not (told.exists() and len(descendants(run.pid)) >= 4):  # guardian, server, child, grandchild
            assert run.poll() is None, (tmp_path / "said").read_text()
            assert time.monotonic() < deadline, (tmp_path / "said").read_text()
            time.sleep(0.05)
        below = descendants(run.pid)
        assert all(alive(pid) for pid in map(int, told.read_text().split()))
        run.send_signal(signal.SIGKILL)
        run.wait(10)
        deadline = time.monotonic() + 20
        while left := [pid for pid in below if alive(pid)]:
            assert time.monotonic() < deadline, f"still there: {left}"
            time.sleep(0.05)
    finally:
        with contextlib.suppress(ProcessLookupError):
            run.kill()
