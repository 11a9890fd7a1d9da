"""The command `mesh-controller`: it waits for NATS, leads, hands over on SIGTERM, says its errors in one line."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bus.credentials import write_credentials
from bus.nats import connect
from bus.nats_admin import create_mesh
from bus.port import Bus
from schemas import subjects
from schemas.errors import MeshError
from schemas.replies import open_reply
from schemas.statusapi import GetStatus, Status
from schemas.wire import encode
from tests.conftest import NatsServer


@asynccontextmanager
async def process(folder: Path, name: str, *more: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command, ended at last."""
    command = [sys.executable, "-m", "controller.main", "--name", name, "--data", str(folder / name)]
    command += ["--credentials", str(folder / f"{name}.json"), *more]
    running = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.communicate()


async def keep(folder: Path, name: str, server: NatsServer) -> None:
    """Write the credentials file."""
    await asyncio.to_thread(write_credentials, folder / f"{name}.json", server.credentials(f"controller-{name}"))


async def status(bus: Bus) -> Status | None:
    """How the mesh is; None: nobody says it."""
    try:
        data = await bus.core.request(subjects.api("status", "get"), encode(GetStatus()), timeout=1)
        return open_reply(data, Status)
    except MeshError:
        return None


async def led_by(bus: Bus, *names: str, seconds: float = 30.0) -> float:
    """Wait until one of these leads; the seconds that it took."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    while (seen := await status(bus)) is None or seen.leader not in names:
        assert loop.time() - started < seconds, seen
        await asyncio.sleep(0.02)
    return loop.time() - started


async def controllers(bus: Bus) -> int:
    """How many are heard."""
    seen = await status(bus)
    return len(seen.controllers) if seen else 0


async def test_two_processes_elect_a_leader_which_hands_over_on_sigterm(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    await create_mesh(nats_server.credentials("operator"), "m1")
    for name in ("1", "2"):
        await keep(tmp_path, name, nats_server)
    async with (
        connect(nats_server.credentials("operator"), timeout=10) as operator,
        process(tmp_path, "1", "--hostname", "here") as first,
    ):
        await led_by(operator, "1")
        async with process(tmp_path, "2") as second:
            async with asyncio.timeout(30):
                while await controllers(operator) < 2:
                    await asyncio.sleep(0.05)
            await asyncio.sleep(1.2)
            first.terminate()
            assert await led_by(operator, "2") < 2
            _, log = await first.communicate()
            assert first.returncode == 0, log.decode()
            lines = [json.loads(line) for line in log.decode().splitlines()]
            assert "leadership.handed_over" in [line["event"] for line in lines]
            assert json.loads((tmp_path / "1" / "highest.json").read_text())["mesh_id"] == "m1"
            second.terminate()
            assert await asyncio.wait_for(second.wait(), 15) == 0


async def test_a_second_controller_of_one_name_is_refused(nats_server: NatsServer, tmp_path: Path) -> None:
    await create_mesh(nats_server.credentials("operator"), "m1")
    await keep(tmp_path, "1", nats_server)
    async with (
        connect(nats_server.credentials("operator"), timeout=10) as operator,
        process(tmp_path, "1", "--hostname", "here") as first,
    ):
        await led_by(operator, "1")
        async with process(tmp_path, "1", "--hostname", "there") as second:
            _, log = await asyncio.wait_for(second.communicate(), 30)
            assert second.returncode == 5
            assert "mesh-controller: another controller named 1 runs already, on here" in log.decode()
            assert "hint: give each controller a --name" in log.decode()
        assert first.returncode is None
        assert await led_by(operator, "1") < 5


async def test_a_controller_waits_for_a_server_that_is_not_there_and_stops_when_told(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    await asyncio.to_thread(nats_server.kill)
    await keep(tmp_path, "1", nats_server)
    async with process(tmp_path, "1") as waiting:
        assert waiting.stderr is not None
        async with asyncio.timeout(30):
            while b"bus.connect_failed" not in await waiting.stderr.readline():
                assert waiting.returncode is None
        await asyncio.sleep(0.5)
        assert waiting.returncode is None
        waiting.terminate()
        assert await asyncio.wait_for(waiting.wait(), 15) == 0


@pytest.mark.parametrize(
    ("name", "content", "said", "code"),
    [
        ("1", None, "no credentials file", 4),
        ("1", "{", "is no credentials file", 2),
        ("Number.One", '{"servers": ["nats://127.0.0.1:1"]}', "can't be a controller's name", 2),
    ],
)
async def test_what_is_wrong_at_the_start_is_said_in_one_line(
    tmp_path: Path, name: str, content: str | None, said: str, code: int
) -> None:
    if content is not None:
        (tmp_path / f"{name}.json").write_text(content)
    async with process(tmp_path, name) as failing:
        _, log = await asyncio.wait_for(failing.communicate(), 30)
    assert failing.returncode == code
    assert said in log.decode()
    assert "Traceback" not in log.decode()
