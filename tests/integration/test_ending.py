"""`mesh-agent` and `mesh-controller` end on SIGTERM, at once and with 0, whatever they are doing."""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bus.credentials import write_credentials
from bus.nats_admin import create_mesh
from bus.users import Credentials
from tests.conftest import NatsServer

ENDS_WITHIN = 5.0
"""Seconds: END_WITHIN, and what a busy machine takes to tell of it."""

AT_ONCE = 4
"""Processes side by side; starting one takes its seconds."""

MOMENTS = 10
"""For each kind of process on a server that answers: connecting, electing, snapshots, reigning, joining."""


def command(kind: str, folder: Path, name: str) -> list[str]:
    """The command of an agent or a controller called `name`."""
    named = ["--name", name] if kind == "controller" else ["--node", name, "--engine", f"unix://{folder}/no-engine"]
    files = ["--credentials", str(folder / f"{kind}.json"), "--data", str(folder / name)]
    return [sys.executable, "-m", f"{kind}.main", *named, *files]


async def end(kind: str, folder: Path, name: str, after: float) -> str:
    """Start one, end it `after` seconds from its first word on; what it logged."""
    running = await asyncio.create_subprocess_exec(*command(kind, folder, name), stderr=asyncio.subprocess.PIPE)
    assert running.stderr is not None
    try:
        async with asyncio.timeout(60):
            first = await running.stderr.readline()
        loop = asyncio.get_running_loop()
        await asyncio.sleep(after)
        told = loop.time()
        running.send_signal(signal.SIGTERM)
        async with asyncio.timeout(ENDS_WITHIN * 4):
            rest = await running.stderr.read()
            code = await running.wait()
        took = loop.time() - told
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()
    log = (first + rest).decode()
    assert code == 0, f"exit {code}, told after {after:.2f} s:\n{log}"
    assert took < ENDS_WITHIN, f"{took:.1f} s, told after {after:.2f} s:\n{log}"
    assert "Traceback" not in log, log
    return log


async def end_at(kind: str, folder: Path, moments: list[float]) -> list[str]:
    """End one process at each of these moments; what they logged."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, after: float) -> str:
        async with places:
            return await end(kind, folder, f"{kind[0]}{number}", after)

    async with asyncio.TaskGroup() as group:
        ended = [group.create_task(one(number, after)) for number, after in enumerate(moments)]
    return [each.result() for each in ended]


async def keep(kind: str, folder: Path, credentials: Credentials) -> None:
    """Write the credentials file."""
    await asyncio.to_thread(write_credentials, folder / f"{kind}.json", credentials)


@pytest.mark.parametrize(("kind", "user"), [("controller", "controller-1"), ("agent", "agent-n1")])
async def test_a_signal_at_any_moment_ends_it_in_good_order(
    nats_server: NatsServer, tmp_path: Path, kind: str, user: str
) -> None:
    await create_mesh(nats_server.credentials("operator"), "m1")
    await keep(kind, tmp_path, nats_server.credentials(user))
    chance = random.Random(3)
    moments = [chance.uniform(0, 0.3) for _ in range(MOMENTS // 2)] + [
        chance.uniform(0, 2) for _ in range(MOMENTS // 2)
    ]
    for log in await end_at(kind, tmp_path, moments):
        assert "process.end_overdue" not in log, log


@contextmanager
def listening_only() -> Iterator[str]:
    """A server that takes connections and says nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield f"nats://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("kind", ["controller", "agent"])
async def test_a_signal_ends_it_before_there_is_a_connection(tmp_path: Path, kind: str) -> None:
    with listening_only() as silent:
        await keep(kind, tmp_path, Credentials(servers=("nats://127.0.0.1:1", silent), user="x", password="y"))
        for log in await end_at(kind, tmp_path, [0.0, 0.1, 0.5, 2.5]):
            assert "process.end_overdue" not in log, log


@pytest.mark.parametrize(("kind", "user"), [("controller", "controller-1"), ("agent", "agent-n1")])
async def test_a_signal_ends_it_while_the_server_is_frozen(
    nats_server: NatsServer, tmp_path: Path, kind: str, user: str
) -> None:
    await create_mesh(nats_server.credentials("operator"), "m1")
    await keep(kind, tmp_path, nats_server.credentials(user))

    async def freeze() -> None:
        await asyncio.sleep(1.5)
        nats_server.freeze()

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(freeze())
            ended = group.create_task(end_at(kind, tmp_path, [1.7, 2.0, 3.0, 6.0]))
        assert len(ended.result()) == 4
    finally:
        nats_server.thaw()
