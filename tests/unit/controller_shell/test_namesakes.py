"""Who of two controllers with one name has to go."""

from __future__ import annotations

import asyncio

import pytest

from controller.namesakes import CERTAIN_AFTER, Namesakes
from schemas.errors import Conflict
from schemas.liveness import ControllerBeat


class Watch:
    """A clock that is set."""

    now = 100.0

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


def beat(name: str = "c1", instance: str = "other", age: float = 50.0) -> ControllerBeat:
    return ControllerBeat(name=name, instance=instance, age=age, hostname="elsewhere")


async def refused(namesakes: Namesakes) -> bool:
    try:
        async with asyncio.timeout(0.01):
            await namesakes.run()
    except TimeoutError:
        return False
    except Conflict as conflict:
        return "elsewhere" in conflict.message
    raise AssertionError


@pytest.mark.parametrize(
    ("beats", "goes"),
    [
        ([(0, beat(age=50)), (CERTAIN_AFTER, beat(age=50 + CERTAIN_AFTER))], True),
        ([(0, beat(age=50)), (1, beat(age=51))], False),
        ([(0, beat(age=50)), (CERTAIN_AFTER, beat(age=50))], False),
        ([(0, beat(age=50)), (20, beat(age=70))], False),
        ([(0, beat("c2")), (CERTAIN_AFTER, beat("c2", age=60))], False),
        ([(0, beat(instance="mine")), (CERTAIN_AFTER, beat(instance="mine", age=60))], False),
        ([(0, beat(instance="")), (CERTAIN_AFTER, beat(instance="", age=60))], False),
        ([(0, beat(age=0)), (CERTAIN_AFTER, beat(age=CERTAIN_AFTER - 0.1))], False),
    ],
    ids=["older", "not certain", "told twice", "fell silent", "another name", "itself", "of old", "younger"],
)
async def test_the_younger_one_goes_once_it_is_certain(beats: list[tuple[float, ControllerBeat]], goes: bool) -> None:
    watch = Watch()
    namesakes = Namesakes("c1", "mine", watch)
    started = watch.now
    for after, each in beats:
        watch.now = started + after
        namesakes.heard(each)
    assert await refused(namesakes) is goes
