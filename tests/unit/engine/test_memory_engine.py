"""The engine in memory: its faults do what they say, and one seed gives one history."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from typing import Any

import pytest

from agent.engine.container import TaskContext, plan_container
from agent.engine.labels import Owner
from agent.engine.memory import MemoryEngine
from agent.engine.memory_images import MemoryRegistry
from agent.engine.memory_life import Program
from agent.engine.model import EngineEvent, EventGap
from agent.engine.plans import ContainerPlan, LogQuery
from schemas.clock import SystemClock
from schemas.errors import EngineError, EngineUnavailable, ImageUnavailable, NotFound
from schemas.spec import ContainerSpec, HealthCheck, TaskSpec

OWNER = Owner("m1", "n1")


def engine_of(seed: int = 1, **options: Any) -> MemoryEngine:
    return MemoryEngine(chance=random.Random(seed), clock=SystemClock(), **options)


def plan(image: str, number: int = 1, **fields: Any) -> ContainerPlan:
    spec = TaskSpec(container=ContainerSpec(image="web:1", **fields))
    return plan_container(spec, TaskContext(OWNER, f"1-{number}", "web", str(number), 1, spec.hash), image)


async def running(engine: MemoryEngine, program: Program | None = None, **fields: Any) -> str:
    image = engine.add_image("web:1", program)
    container = await engine.create(plan(image.id, **fields))
    await engine.start(container)
    return container


async def test_a_program_ends_by_itself_with_its_code() -> None:
    engine = engine_of()
    container = await running(engine, Program(runs_for=0.01, exit_code=4))
    await asyncio.sleep(0.03)
    assert (await engine.inspect(container)).exit_code == 4


async def test_a_program_out_of_memory_is_told_so() -> None:
    engine = engine_of()
    container = await running(engine, Program(runs_for=0.0, oom=True))
    await asyncio.sleep(0.01)
    view = await engine.inspect(container)
    assert (view.exit_code, view.oom_killed) == (137, True)


async def test_a_program_gets_unhealthy() -> None:
    engine = engine_of()
    check = HealthCheck(test=("CMD", "x"))
    container = await running(engine, Program(healthy_after=0.01, unhealthy_after=0.02), healthcheck=check)
    await asyncio.sleep(0.04)
    assert (await engine.inspect(container)).health == "unhealthy"
    await engine.kill(container)


async def test_a_program_that_can_not_be_started_tells_why() -> None:
    engine = engine_of()
    with pytest.raises(EngineError, match='command "x" is not in the image'):
        await running(engine, Program(start_error='command "x" is not in the image'))
    (view,) = await engine.containers(OWNER)
    assert (view.state, view.exit_code, view.error) == ("created", 127, 'command "x" is not in the image')


async def test_an_engine_that_is_down_answers_nothing_and_its_containers_end() -> None:
    engine = engine_of()
    container = await running(engine)
    engine.crash()
    with pytest.raises(EngineUnavailable):
        await engine.inspect(container)
    engine.recover()
    assert (await engine.inspect(container)).state == "exited"


async def test_containers_may_outlive_their_engine() -> None:
    engine = engine_of()
    container = await running(engine)
    engine.crash(containers=False)
    engine.recover()
    assert (await engine.inspect(container)).state == "running"


async def test_readers_of_events_hear_of_a_crash() -> None:
    engine = engine_of()
    seen: list[EngineEvent | EventGap] = []
    async with aclosing(engine.events(OWNER)) as events:  # type: ignore[type-var]
        async for event in events:
            seen.append(event)
            if len(seen) == 1:
                engine.crash()
                engine.recover()
            if len(seen) == 2:
                break
    assert [type(event) for event in seen] == [EventGap, EventGap]


async def test_injected_refusals_come_once_in_order() -> None:
    engine = engine_of()
    engine.faults.refuse["create"] = ["first", "second"]
    for text in ("first", "second"):
        with pytest.raises(EngineError, match=text):
            await running(engine)
    await running(engine)


async def test_a_lost_answer_leaves_the_work_done() -> None:
    engine = engine_of()
    image = engine.add_image("web:1")
    engine.faults.lose_answer = 1.0
    with pytest.raises(EngineUnavailable):
        await engine.create(plan(image.id))
    engine.faults.lose_answer = 0.0
    assert len(await engine.containers(OWNER)) == 1


async def test_a_full_disk_refuses_what_needs_space() -> None:
    engine = engine_of()
    container = await running(engine)
    engine.faults.disk_full = True
    with pytest.raises(EngineError, match="no space left on device"):
        await engine.create(plan("sha256:1", 2))
    await engine.stop(container)


async def test_containers_can_be_forgotten_and_invented() -> None:
    engine = engine_of()
    container = await running(engine)
    engine.forget(container)
    with pytest.raises(NotFound):
        await engine.inspect(container)
    invented = engine.invent("odd", OWNER.labels)
    assert [view.id for view in await engine.containers(OWNER)] == [invented]


async def test_a_hanging_engine_answers_when_it_goes_on() -> None:
    engine = engine_of()
    engine.faults.hang = True
    async with asyncio.TaskGroup() as group:
        info = group.create_task(engine.info())
        await asyncio.sleep(0.01)
        assert not info.done()
        engine.faults.hang = False
    assert info.result().version == "memory"


async def test_engines_share_a_registry() -> None:
    registry = MemoryRegistry()
    one, two = engine_of(1, registry=registry), engine_of(2, registry=registry)
    digest = registry.publish("web:2", Program(exit_code=9, runs_for=0.0))
    pulled = await one.pull("web:2")
    assert pulled.digests == (digest,)
    assert await two.pull(digest) == pulled
    assert await two.image(digest) == pulled
    registry.reachable = False
    with pytest.raises(ImageUnavailable, match="can't be resolved"):
        await two.pull("web:2")


async def test_a_tag_that_moves_leaves_the_older_image_nameless() -> None:
    engine = engine_of()
    older = engine.add_image("web:1", Program(exit_code=1))
    newer = engine.add_image("web:1", Program(exit_code=2))
    assert await engine.image("web:1") == newer
    found = await engine.image(older.id)
    assert found is not None
    assert found.tags == ()


async def test_log_lines_are_followed() -> None:
    engine = engine_of()
    container = await running(engine)
    async with asyncio.TaskGroup() as group:
        page = group.create_task(engine.logs(container, LogQuery(wait=5.0)))
        await asyncio.sleep(0.01)
        engine.life(container).log("hello", "stderr")
    assert [(line.text, line.stream) for line in page.result().lines] == [("hello", "stderr")]


async def test_one_seed_gives_one_history() -> None:
    async def history() -> list[str]:
        engine = engine_of(7)
        image = engine.add_image("web:1")
        engine.faults.fail = 0.3
        seen = []
        for number in range(20):
            try:
                seen.append(await engine.create(plan(image.id, number)))
            except EngineError as error:
                seen.append(error.message)
        return seen

    assert await history() == await history()
