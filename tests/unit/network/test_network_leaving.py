"""When a task may get its stop signal."""

from __future__ import annotations

import random

from agent.files import MemoryFiles
from agent.journal import Journal
from agent.ledger import Ledger
from agent.network.following import Following
from agent.network.leaving import Leaving
from agent.network.machine import LinuxMachine
from bus.memory import MemoryBroker


class TurnedClock:
    """A clock that is turned by hand."""

    def __init__(self, now: float) -> None:
        self.now = now

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


async def test_a_task_to_which_nobody_sends_anything_may_stop_at_the_first_look() -> None:
    """At any time of day: 0.3 s ago is not always 0.3 s ago."""
    bus, files, chance = MemoryBroker(random.Random(1)).connect("agent-n1"), MemoryFiles(), random.Random(1)
    for number in range(200):
        clock = TurnedClock(1000.0 + number * 0.137)
        ledger = Ledger(files, Journal("n1", files, bus.events, clock))
        following = Following(bus.state, files, chance, set)
        leaving = Leaving(following, LinuxMachine(chance), clock, lambda: None, ledger)
        assert leaving.may_stop("1-1", 10.0)
