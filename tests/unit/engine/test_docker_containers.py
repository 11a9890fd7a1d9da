"""The adapter's containers on an engine that tells of some of them badly, late, or not at all."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agent.engine import docker_line
from agent.engine.docker import DockerEngine
from agent.engine.plans import ContainerPlan
from schemas.clock import SystemClock
from schemas.errors import Conflict, EngineUnavailable
from tests.unit.engine.fake_docker import OWNER, FakeDocker, fake_docker


@pytest.fixture
def docker(tmp_path: Path) -> Iterator[FakeDocker]:
    with fake_docker(tmp_path) as server:
        yield server


@pytest.fixture
async def engine(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[DockerEngine]:
    monkeypatch.setattr(docker_line, "LOOK", 1.0)
    made = DockerEngine(docker.address, clock=SystemClock())
    yield made
    await made.close()


async def test_containers_that_ended_in_the_future_hold_up_no_list(docker: FakeDocker, engine: DockerEngine) -> None:
    """The clock was set back since."""
    docker.add("1-1", "exited", finished=time.time() + 3600)
    docker.add("1-2")
    begun = time.monotonic()
    for _ in range(10):
        first, second = await engine.containers(OWNER)
        assert (first.exit_code, first.told_to_end, second.state) == (0, False, "running")
    assert time.monotonic() - begun < 1


async def test_a_question_for_signals_that_brings_nothing_holds_no_thread(
    docker: FakeDocker, engine: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine's own clock is behind ours."""
    monkeypatch.setattr("agent.engine.docker_signals.AHEAD", 1e6)
    for number in range(10):
        docker.add(f"1-{number}", "exited", finished=time.time() + 3600)
    views = await engine.containers(OWNER)
    assert {view.told_to_end for view in views} == {False}
    docker.add("2-1")
    assert (await engine.inspect("2-1")).state == "running"


async def test_an_engine_that_refuses_to_tell_of_signals_still_tells_of_containers(
    docker: FakeDocker, engine: DockerEngine
) -> None:
    docker.events_status = 500
    docker.add("1-1", "exited", finished=time.time() - 10)
    (view,) = await engine.containers(OWNER)
    assert (view.exit_code, view.told_to_end) == (0, False)


PLAN = ContainerPlan("web.1.1-1", "sha256:1", {**OWNER.labels, "mesh.task": "1-1"}, {})


async def test_a_container_with_labels_of_its_image_is_known_again(docker: FakeDocker, engine: DockerEngine) -> None:
    docker.add("1-1", "created", maintainer="somebody")
    docker.taken = [PLAN.name]
    assert await engine.create(PLAN) == "1-1"


async def test_a_container_of_somebody_else_is_a_conflict(docker: FakeDocker, engine: DockerEngine) -> None:
    docker.add("1-1", "created", **{"mesh.task": "1-2"})
    docker.taken = [PLAN.name]
    with pytest.raises(Conflict, match=r"the container name web\.1\.1-1 is taken by"):
        await engine.create(PLAN)


async def test_a_name_that_is_taken_by_a_container_still_being_made_is_asked_for_again(
    docker: FakeDocker, engine: DockerEngine
) -> None:
    docker.taken = [PLAN.name] * 2
    with pytest.raises(EngineUnavailable, match=r"has not finished making web\.1\.1-1"):
        await engine.create(PLAN)
    docker.add("1-1", "created")
    assert await engine.create(PLAN) == "1-1"
