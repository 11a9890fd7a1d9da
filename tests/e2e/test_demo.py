"""The demo's stories hold, from the command that people are told to type."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lab import folders

pytestmark = [pytest.mark.docker, pytest.mark.alone, pytest.mark.timeout(400)]


def test_the_demos_stories_hold_and_leave_nothing() -> None:
    before = folders.names()
    done = subprocess.run([sys.executable, "-m", "lab.demo"], capture_output=True, text=True, timeout=360)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "All of it held" in done.stdout
    assert "is on node" in done.stdout  # the task that waits says for which node
    assert "are counted" in done.stdout  # the votes of the second story
    assert [name for name in folders.names() if name.startswith("demo") and name not in before] == []
