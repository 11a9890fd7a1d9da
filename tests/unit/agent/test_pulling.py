"""Images that are here wait for none that is not, and not more than a few are fetched at once."""

from __future__ import annotations

import asyncio

from agent.pulling import PULLS_AT_ONCE
from schemas.spec import TaskSpec
from tests.unit.agent.rehearsal import Rehearsal, assigned, play, spec_of


async def pull_slowly(stage: Rehearsal, count: int, *others: TaskSpec) -> None:
    """So many images that are not here are wanted, and other tasks after them."""
    stage.registry.pull_seconds = 600
    slow = [spec_of(f"big{number}:1") for number in range(count)]
    for number in range(count):
        stage.registry.publish(f"big{number}:1")
    tasks = [assigned(f"{number + 2}-1", spec, service=f"big{number}") for number, spec in enumerate(slow)]
    await stage.put(*tasks, specs=slow)
    await asyncio.sleep(5)
    more = [assigned(f"1-{number + 1}", spec, slot=str(number + 1)) for number, spec in enumerate(others)]
    await stage.put(*tasks, *more, specs=[*slow, *others])


def test_a_task_whose_image_is_here_waits_for_no_pull() -> None:
    async def scene(stage: Rehearsal) -> None:
        async with stage.agent():
            await pull_slowly(stage, PULLS_AT_ONCE, spec_of())
            await stage.until_state("1-1", "running", 5)

    play(scene)


def test_an_image_that_may_not_be_fetched_fails_its_task_at_once() -> None:
    async def scene(stage: Rehearsal) -> None:
        async with stage.agent():
            await pull_slowly(stage, PULLS_AT_ONCE, spec_of("mine:1", pull_policy="never"))
            assert "never" in (await stage.until_state("1-1", "failed", 5)).error

    play(scene)


def test_a_few_are_fetched_at_once_and_one_that_was_brought_meanwhile_is_not() -> None:
    async def scene(stage: Rehearsal) -> None:
        async with stage.agent():
            await pull_slowly(stage, PULLS_AT_ONCE + 1)
            await asyncio.sleep(100)
            assert await _pulling(stage) == PULLS_AT_ONCE
            last = f"big{PULLS_AT_ONCE}:1"
            stage.engine.add_image(last)
            await stage.until_state(f"{PULLS_AT_ONCE + 2}-1", "running", 600)
            assert await _pulling(stage) == PULLS_AT_ONCE

    play(scene)


async def _pulling(stage: Rehearsal) -> int:
    """Images of which a pull was told."""
    return len({event.data["image"] for event in await stage.events() if event.kind == "image.pulling"})
