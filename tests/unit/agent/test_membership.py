"""An agent becomes a member."""

from __future__ import annotations

import asyncio
import errno
import random
from unittest.mock import Mock

import pytest

from agent import guards
from agent.files import MemoryFiles
from agent.guards import guarded
from agent.membership import FILE, Identity, Membership
from schemas.memberapi import Joined
from schemas.observation import NodeFacts
from schemas.replies import reply_with
from schemas.wire import decode
from tests.sim.loop import run


class FullFiles(MemoryFiles):
    """Of a disk that may be full."""

    full = False

    async def write(self, name: str, data: bytes) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        await super().write(name, data)


class Welcoming:
    """A controller that lets everybody in."""

    async def request(self, *_: object, **__: object) -> bytes:
        return reply_with(Joined(mesh_id="m1", generation=1, sequence=1))


def test_a_disk_that_is_full_while_it_joins_does_not_make_it_forget_its_mesh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "log", Mock())  # printed, a traceback would read files

    async def scenario() -> None:
        files = FullFiles()
        member = Membership("n1", Welcoming(), files, random.Random(1), labels={}, facts=NodeFacts)  # type: ignore[arg-type]
        await member.load()
        files.full = True
        task = asyncio.create_task(guarded("membership", member.run))
        await asyncio.sleep(5)
        assert not member.confirmed
        files.full = False
        await asyncio.sleep(10)
        assert member.confirmed
        assert decode(files.content[FILE], Identity).mesh_id == "m1"
        task.cancel()

    run(scenario())
