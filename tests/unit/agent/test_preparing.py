"""Images got ready before tasks need them: told when here, told why not, tried again."""

from __future__ import annotations

import asyncio

from schemas.assignment import Assignment
from schemas.spec import PreStart, TaskSpec
from schemas.wire import encode
from tests.unit.agent.rehearsal import NODE, Rehearsal, play, spec_of

NEXT = spec_of("next:1")


async def prepare(stage: Rehearsal, *specs: TaskSpec) -> None:
    record = Assignment(
        node=NODE,
        epoch=1,
        prepare={f"web-{spec.hash}": spec.hash for spec in specs},
        specs={spec.hash: spec for spec in specs},
    )
    await stage.put_raw(encode(record))


async def told(stage: Rehearsal) -> dict[str, str] | None:
    seen = await stage.observation()
    return seen.prepared if seen is not None else None


def test_an_image_is_fetched_and_told_before_any_task_needs_it() -> None:
    async def scene(stage: Rehearsal) -> None:
        stage.registry.publish("next:1")
        async with stage.agent():
            await stage.until(lambda: _is(stage, {}))
            await prepare(stage, NEXT)
            await stage.until(lambda: _is(stage, {NEXT.hash: ""}))
            assert await stage.engine.image("next:1") is not None
            assert stage.alive() == []
            await prepare(stage)
            await stage.until(lambda: _is(stage, {}))

    play(scene)


def test_what_can_not_be_had_is_told_and_tried_again() -> None:
    async def scene(stage: Rehearsal) -> None:
        async with stage.agent():
            await prepare(stage, NEXT)

            async def refused() -> bool:
                return "next:1" in ((await told(stage)) or {}).get(NEXT.hash, "")

            await stage.until(refused)
            stage.registry.publish("next:1")
            await stage.until(lambda: _is(stage, {NEXT.hash: ""}), 20)

    play(scene)


def test_what_runs_before_a_task_is_fetched_with_it() -> None:
    async def scene(stage: Rehearsal) -> None:
        steps = (PreStart(command=("migrate",), image="job:1"), PreStart(command=("check",)))
        spec = spec_of("next:1", pre_start=steps)
        stage.registry.publish("next:1")
        async with stage.agent():
            await prepare(stage, spec)

            async def refused() -> bool:
                return "job:1" in ((await told(stage)) or {}).get(spec.hash, "")

            await stage.until(refused)
            assert await stage.engine.image("next:1") is not None
            stage.registry.publish("job:1")
            await stage.until(lambda: _is(stage, {spec.hash: ""}), 20)
            assert await stage.engine.image("job:1") is not None

    play(scene)


def test_a_new_agent_on_the_same_disk_prepares_again() -> None:
    async def scene(stage: Rehearsal) -> None:
        stage.registry.publish("next:1")
        async with stage.agent():
            await prepare(stage, NEXT)
            await asyncio.sleep(0.01)
        async with stage.agent():
            await stage.until(lambda: _is(stage, {NEXT.hash: ""}))

    play(scene)


async def _is(stage: Rehearsal, wanted: dict[str, str]) -> bool:
    return await told(stage) == wanted
