"""Blocking calls in bounded threads: a hanging engine holds up nobody for long, and the loop never."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import Any

import pytest

from agent.engine import workers as module
from agent.engine.workers import Workers
from schemas.errors import EngineUnavailable


class Connections:
    """Counts what is opened and closed."""

    def __init__(self) -> None:
        self.opened: list[int] = []
        self.closed: list[int] = []

    def open(self) -> int:
        self.opened.append(len(self.opened))
        return self.opened[-1]


@pytest.fixture
def connections() -> Connections:
    return Connections()


@pytest.fixture
def workers(connections: Connections) -> Iterator[Workers[int]]:
    made: Workers[int] = Workers(2, "test", connections.open, connections.closed.append)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _short_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MARGIN", 0.0)


async def test_results_and_errors_come_back(workers: Workers[int]) -> None:
    assert await workers.run(lambda connection: connection + 10, limit=5, what="add") == 10

    def fail(_: int) -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await workers.run(fail, limit=5, what="fail")


async def test_threads_and_connections_are_made_as_needed_and_kept(
    workers: Workers[int], connections: Connections
) -> None:
    for _ in range(5):
        await workers.run(lambda connection: connection, limit=5, what="look")
    assert connections.opened == [0]


async def test_no_more_run_at_once_than_there_are_threads(workers: Workers[int]) -> None:
    running, most, lock = 0, 0, threading.Lock()
    barrier = threading.Barrier(2, timeout=5)

    def work(_: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        barrier.wait()
        with lock:
            running -= 1

    async with asyncio.TaskGroup() as group:
        for _ in range(6):
            group.create_task(workers.run(work, limit=5, what="work"))
    assert most == 2


async def blocked(workers: Workers[int], group: asyncio.TaskGroup) -> Callable[[], None]:
    """Keep both threads busy until the answer is called."""
    release, begun = threading.Event(), threading.Semaphore(0)

    def work(_: int) -> None:
        begun.release()
        release.wait(10)

    for _ in range(2):
        group.create_task(workers.run(work, limit=10, what="block"))
    await asyncio.sleep(0)
    for _ in range(2):
        await asyncio.to_thread(begun.acquire)
    return release.set


def _note(order: list[str], text: str, _: int) -> None:
    order.append(text)


async def test_urgent_calls_go_first(workers: Workers[int]) -> None:
    order: list[str] = []
    async with asyncio.TaskGroup() as group:
        release = await blocked(workers, group)
        for number in range(3):
            text = f"change {number}"
            group.create_task(workers.run(partial(_note, order, text), limit=5, what="x"))
        await asyncio.sleep(0.01)
        group.create_task(workers.run(lambda _: order.append("look"), limit=5, what="x", urgent=True))
        await asyncio.sleep(0.01)
        release()
    assert order[0] == "look" or order[1] == "look"
    assert sorted(order) == ["change 0", "change 1", "change 2", "look"]


async def test_a_call_over_its_limit_is_given_up_and_so_are_those_that_wait(workers: Workers[int]) -> None:
    release = threading.Event()
    failures: list[str] = []

    async def call(limit: float) -> None:
        try:
            await workers.run(lambda _: release.wait(10), limit=limit, what="hang")
        except EngineUnavailable as error:
            failures.append(error.message)

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(call(0.1))
        group.create_task(call(0.2))
        await asyncio.sleep(0.01)
        for _ in range(4):
            group.create_task(call(10))
    assert len(failures) == 6
    assert failures[0] == "the container engine did not answer within 0.1 s (hang)"
    release.set()
    assert await workers.run(lambda _: "again", limit=5, what="look") == "again"


async def test_a_cancelled_waiter_gives_its_turn_on(workers: Workers[int]) -> None:
    async with asyncio.TaskGroup() as group:
        release = await blocked(workers, group)
        waiting = group.create_task(workers.run(lambda _: None, limit=5, what="x"))
        next_one = group.create_task(workers.run(lambda _: "mine", limit=5, what="x"))
        await asyncio.sleep(0.01)
        waiting.cancel()
        release()
        assert await next_one == "mine"
    assert await workers.run(lambda _: 1, limit=5, what="x") == 1


async def test_an_unavailable_engine_is_connected_to_anew(workers: Workers[int], connections: Connections) -> None:
    def gone(_: int) -> None:
        raise EngineUnavailable("gone")

    with pytest.raises(EngineUnavailable):
        await workers.run(gone, limit=5, what="x")
    assert await workers.run(lambda connection: connection, limit=5, what="x") == 1
    assert connections.closed == [0]


async def test_a_closed_connection_refuses(workers: Workers[int], connections: Connections) -> None:
    await workers.run(lambda _: None, limit=5, what="x")
    workers.close()
    with pytest.raises(EngineUnavailable, match="closed"):
        await workers.run(lambda _: None, limit=5, what="x")
    for _ in range(100):
        if connections.closed:
            break
        await asyncio.sleep(0.01)
    assert connections.closed == [0]


async def test_a_turn_that_never_comes_is_told(workers: Workers[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TURN", 0.05)
    async with asyncio.TaskGroup() as group:
        release = await blocked(workers, group)
        with pytest.raises(EngineUnavailable, match=r"no call .* 0\.05 s \(look\)"):
            await workers.run(lambda _: None, limit=5, what="look", urgent=True)
        patient = group.create_task(workers.run(lambda _: "done", limit=None, what="pull"))
        await asyncio.sleep(0.1)
        release()
        assert await patient == "done"


async def test_one_call_over_its_limit_costs_the_others_nothing_while_these_are_answered(
    workers: Workers[int],
) -> None:
    release = threading.Event()
    answered: list[int] = []

    async def work_on() -> None:
        for _ in range(20):
            await workers.run(_slowly, limit=5, what="look")
            answered.append(1)

    async with asyncio.TaskGroup() as group:
        hanging = group.create_task(_outcome(workers.run(lambda _: release.wait(10), limit=0.1, what="hang")))
        await asyncio.sleep(0)
        for _ in range(3):
            group.create_task(work_on())
        assert isinstance(await hanging, EngineUnavailable)
    release.set()
    assert len(answered) == 60


def _slowly(_: int) -> None:
    time.sleep(0.01)


async def _outcome(work: Coroutine[Any, Any, object]) -> object:
    try:
        return await work
    except EngineUnavailable as error:
        return error
