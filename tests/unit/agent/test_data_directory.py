"""The agent's data directory on a real disk: who may read it, and who may work in it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from agent.files import DataDirectory
from schemas.errors import UsageError


async def test_what_an_agent_keeps_can_be_read_by_its_user_alone(tmp_path: Path) -> None:
    files = DataDirectory(tmp_path)
    await files.write("tasks.json", b"{}")
    await files.write_reserved("assignment", b"{}")
    await files.append("journal.jsonl", b"{}\n")
    files.close()
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_two_agents_can_not_work_in_one_directory(tmp_path: Path) -> None:
    first, second = DataDirectory(tmp_path / "agent"), DataDirectory(tmp_path / "agent")
    first.claim()
    with pytest.raises(UsageError, match="another agent works in"):
        second.claim()
    first.close()
    second.claim()
    second.close()
