"""The simulated loop keeps asyncio's order, lets time jump and refuses what is real."""

from __future__ import annotations

import asyncio

import pytest

from tests.sim.loop import START, Deadlock, Livelock, NotSimulated, run


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


def test_time_limits_run_in_virtual_time() -> None:
    async def main() -> None:
        async with asyncio.timeout(30):
            await asyncio.sleep(31)

    with pytest.raises(TimeoutError):
        run(main())


@pytest.mark.parametrize("what", ["thread", "socket"])
def test_what_is_real_is_refused(what: str) -> None:
    async def main() -> None:
        if what == "thread":
            await asyncio.to_thread(print)
        else:
            await asyncio.open_connection("127.0.0.1", 1)

    with pytest.raises(NotSimulated):
        run(main())
