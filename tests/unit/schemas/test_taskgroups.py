"""A task that is cancelled while a group in it fails ends: on every Python that counts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

import schemas.clock
from tests.sim.loop import run


class Failure(Exception):
    """A child's."""


async def fail(after: float) -> None:
    await asyncio.sleep(after)
    raise Failure


async def end_slowly(seconds: float) -> None:
    try:
        await asyncio.sleep(1000)
    finally:
        await asyncio.sleep(seconds)


async def fail_when_ended() -> None:
    try:
        await asyncio.sleep(1000)
    except asyncio.CancelledError:
        raise Failure from None


async def _one_group(*children: Awaitable[None]) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            for child in children:
                group.create_task(child)  # type: ignore[arg-type]
    except* Failure:
        pass


async def _while_others_end() -> None:
    await _one_group(fail(1.0), end_slowly(1.0))


async def _and_a_child_fails_of_it() -> None:
    await _one_group(fail_when_ended(), asyncio.sleep(1000))


async def _twice_in_a_row() -> None:
    await _and_a_child_fails_of_it()
    await _and_a_child_fails_of_it()


async def _in_the_body() -> None:
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail(1.0))
            group.create_task(end_slowly(1.0))
            await asyncio.sleep(1000)
    except* Failure:
        pass


async def _in_a_group_within() -> None:
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(1000))
            async with asyncio.TaskGroup() as inner:
                inner.create_task(fail(1.0))
                inner.create_task(end_slowly(1.0))
    except* Failure:
        pass


@pytest.mark.parametrize(
    "work", [_while_others_end, _and_a_child_fails_of_it, _twice_in_a_row, _in_the_body, _in_a_group_within]
)
def test_a_task_that_is_cancelled_while_a_group_in_it_fails_ends(work: Callable[[], Awaitable[None]]) -> None:
    async def for_ever() -> None:
        while True:
            await work()
            await asyncio.sleep(0.1)

    async def scenario() -> None:
        task = asyncio.ensure_future(for_ever())
        await asyncio.sleep(1.5)
        task.cancel()
        await asyncio.wait([task], timeout=10)
        assert task.cancelled()

    assert schemas.clock.SystemClock
    run(scenario())


def test_a_group_that_fails_by_itself_cancels_nothing_else() -> None:
    async def scenario() -> None:
        task = asyncio.current_task()
        assert task is not None
        for _ in range(3):
            await _one_group(fail(1.0), end_slowly(0.1))
            await _in_the_body()
            await asyncio.sleep(1)
            assert task.cancelling() == 0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.sleep(5)

    run(scenario())
