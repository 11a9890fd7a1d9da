"""Checks that the agent makes itself: not ready at first, ready once it answers, not ended when it stops answering."""

from __future__ import annotations

import asyncio

from agent.engine.memory_life import Life, Program
from schemas.observation import ObservedTask
from schemas.spec import ReadyCheck
from tests.unit.agent.rehearsal import Rehearsal, assigned, play, spec_of

SPEC = spec_of("slow:1", ready=ReadyCheck(kind="http", port=8080, interval=2.0, retries=3))


async def until_ready(stage: Rehearsal, ready: bool, within: float = 30.0) -> ObservedTask:
    async def look() -> ObservedTask | None:
        seen = await stage.observed("1-1")
        return seen if seen is not None and seen.state == "running" and seen.up is ready else None

    found: ObservedTask = await stage.until(look, within)
    return found


def life(stage: Rehearsal) -> Life:
    (only,) = stage.engine.lives.values()
    return only


def test_a_task_is_up_only_once_it_answers() -> None:
    async def scene(stage: Rehearsal) -> None:
        stage.engine.add_image("slow:1", Program(ready_after=20.0))
        async with stage.agent():
            await stage.put(assigned("1-1", SPEC), specs=[SPEC])
            seen = await until_ready(stage, False)
            assert seen.not_ready in ("not checked yet", "connection refused")
            await asyncio.sleep(15)
            assert (await until_ready(stage, False)).not_ready == "connection refused"
            await until_ready(stage, True, 8)
            await asyncio.sleep(1)
            assert (await stage.kinds("1-1"))[-1] == "task.ready"

    play(scene)


def test_some_bad_answers_in_a_row_make_it_not_ready_and_do_not_end_it() -> None:
    async def scene(stage: Rehearsal) -> None:
        stage.engine.add_image("slow:1")
        async with stage.agent():
            await stage.put(assigned("1-1", SPEC), specs=[SPEC])
            await until_ready(stage, True)
            life(stage).refuses = "status 503"
            await asyncio.sleep(3.5)
            assert (await until_ready(stage, True)).not_ready == "", "two bad answers are borne"
            life(stage).refuses = ""
            await asyncio.sleep(5)
            life(stage).refuses = "status 503"
            assert (await until_ready(stage, False, 10)).not_ready == "status 503"
            assert stage.alive() == ["1-1"]
            life(stage).refuses = ""
            await until_ready(stage, True, 2)

    play(scene)


def test_a_restarted_agent_takes_a_ready_task_for_ready() -> None:
    async def scene(stage: Rehearsal) -> None:
        stage.engine.add_image("slow:1")
        async with stage.agent():
            await stage.put(assigned("1-1", SPEC), specs=[SPEC])
            await until_ready(stage, True)
        async with stage.agent():
            for _ in range(40):
                seen = await stage.observed("1-1")
                assert seen is not None
                assert seen.up
                await asyncio.sleep(0.1)

    play(scene)


def test_a_task_without_a_check_is_ready() -> None:
    async def scene(stage: Rehearsal) -> None:
        plain = spec_of("slow:1")
        stage.engine.add_image("slow:1", Program(ready_after=None))
        async with stage.agent():
            await stage.put(assigned("1-1", plain), specs=[plain])
            await until_ready(stage, True)

    play(scene)
