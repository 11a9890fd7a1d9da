"""The simulated loop keeps asyncio's order, lets time jump and refuses what is real."""

from __future__ import annotations

import _thread
import asyncio
import math
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from agent.guards import sleep_unless
from tests.sim.loop import START, Deadlock, Livelock, run
from tests.sim.refusal import NotSimulated


def test_an_hour_passes_at_once_and_timers_fire_in_order() -> None:
    seen: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append((name, asyncio.get_running_loop().time()))

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(sleeper("hour", 3600))
            group.create_task(sleeper("second", 1))
            group.create_task(sleeper("none", 0))

    run(main())
    assert [name for name, _ in seen] == ["none", "second", "hour"]
    assert seen[-1][1] == pytest.approx(START + 3600)


def test_waiting_for_what_never_comes_is_an_error() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock):
        run(main())


def test_spinning_without_time_is_an_error() -> None:
    async def main() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(Livelock):
        run(main())


def test_who_waits_for_a_moment_that_is_closer_than_the_clock_tells_apart_comes_to_it() -> None:
    """Story 70000701: workers were to try again at a moment one bit after now, and one or another was always ready."""

    async def wait_until(due: float, turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        while (now := asyncio.get_running_loop().time()) < due:
            await sleep_unless(asyncio.Event(), due - now)

    async def main() -> None:
        due = math.nextafter(asyncio.get_running_loop().time(), math.inf)
        async with asyncio.TaskGroup() as group:
            for turns in range(5):
                group.create_task(wait_until(due, turns))

    run(main())


def test_time_limits_run_in_virtual_time() -> None:
    async def main() -> None:
        async with asyncio.timeout(30):
            await asyncio.sleep(31)

    with pytest.raises(TimeoutError):
        run(main())


async def _thread_of_asyncio() -> None:
    await asyncio.to_thread(print)


async def _connection_of_asyncio() -> None:
    await asyncio.open_connection("127.0.0.1", 1)


async def _process_of_asyncio() -> None:
    await asyncio.create_subprocess_exec("true")


@pytest.mark.parametrize("real", [_thread_of_asyncio, _connection_of_asyncio, _process_of_asyncio])
def test_what_asyncio_has_of_the_real_is_refused(real: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with pytest.raises(NotSimulated):
        run(real())


def _to_nobody(call: Callable[[socket.socket, tuple[str, int]], object]) -> Callable[[], None]:
    outside = socket.socket()
    outside.close()
    return lambda: void(call(outside, ("127.0.0.1", 1)))


def void(_: object) -> None:
    """Whatever it gives."""


REAL: dict[str, Callable[[], object]] = {
    "a thread": lambda: threading.Thread(target=print).start(),
    "a timer": lambda: threading.Timer(0, print).start(),
    "a bare thread": lambda: _thread.start_new_thread(print, ()),
    "a pool": lambda: ThreadPoolExecutor(1).submit(print),
    "a socket": socket.socket,
    "a connection": lambda: socket.create_connection(("127.0.0.1", 1)),
    "a server": lambda: socket.create_server(("127.0.0.1", 0)),
    "a name": lambda: socket.getaddrinfo("localhost", 1),
    "a socket from before connects": _to_nobody(socket.socket.connect),
    "a socket from before gets an address": _to_nobody(socket.socket.bind),
    "a process": lambda: subprocess.run(["true"], check=False),
    "a shell": lambda: os.system("true"),
    "a fork": lambda: os.fork() or os._exit(0),
    "another program": lambda: os.posix_spawn("/bin/true", ["true"], {}),
    "a sleep": lambda: time.sleep(0),
}


@pytest.mark.parametrize("what", REAL)
def test_what_is_real_is_refused_while_a_world_runs(what: str) -> None:
    async def main() -> None:
        REAL[what]()

    with pytest.raises(NotSimulated):
        run(main())


def test_what_is_real_is_refused_to_the_world_alone() -> None:
    done: list[str] = []

    def outside() -> None:
        entered.wait()
        socket.socket().close()
        time.sleep(0)
        inner = threading.Thread(target=done.append, args=("thread",))
        inner.start()
        inner.join()
        left.set()

    async def main() -> None:
        entered.set()
        left.wait(10)

    entered, left = threading.Event(), threading.Event()
    other = threading.Thread(target=outside)
    other.start()
    run(main())
    other.join()
    assert done == ["thread"]


def test_what_is_real_is_there_again_after_a_world_has_failed() -> None:
    async def main() -> None:
        raise ValueError("it fails")

    before = (threading.Thread.start, _thread.start_new_thread, time.sleep)
    with pytest.raises(ValueError, match="it fails"):
        run(main())
    assert (threading.Thread.start, _thread.start_new_thread, time.sleep) == before
    socket.socket().close()
    subprocess.run(["true"], check=True)
