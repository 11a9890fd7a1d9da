"""Pulls from an engine that falls silent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agent.engine import docker_images, docker_line
from agent.engine.docker import DockerEngine
from schemas.clock import SystemClock
from schemas.errors import ImageUnavailable
from tests.unit.engine.fake_docker import FakeDocker, fake_docker


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDocker]:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with fake_docker(tmp_path) as server:
        yield server


@pytest.fixture
async def engine(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[DockerEngine]:
    for module in (docker_line, docker_images):
        monkeypatch.setattr(module, "PULL_IDLE", 1.0)
    made = DockerEngine(docker.address, clock=SystemClock())
    yield made
    await made.close()


@pytest.mark.parametrize("messages", [[], [{"status": "Pulling from web", "id": "1"}]])
async def test_a_pull_without_a_sign_of_life_fails_and_is_ended(
    docker: FakeDocker, engine: DockerEngine, messages: list[dict[str, str]]
) -> None:
    docker.pull_messages += messages
    begun = time.monotonic()
    with pytest.raises(ImageUnavailable, match="image web:1: its pull stood still for 1 s"):
        await engine.pull("web:1")
    assert 0.9 < time.monotonic() - begun < 3
    assert await asyncio.to_thread(docker.pulls_closed.acquire, timeout=2), "the engine goes on with it"


async def test_pulls_take_no_thread_from_images_that_are_here(docker: FakeDocker, engine: DockerEngine) -> None:
    async def pull() -> None:
        with pytest.raises(ImageUnavailable):
            await engine.pull("web:1")

    async with asyncio.TaskGroup() as group:
        for _ in range(docker_line.PULLS + 1):
            group.create_task(pull())
        await asyncio.sleep(0.2)
        begun = time.monotonic()
        await engine._line.transfer("image", lambda _: None)
        assert time.monotonic() - begun < 0.5
