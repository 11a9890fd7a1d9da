"""When a task may get its stop signal."""

from __future__ import annotations

import random

from agent.files import MemoryFiles
from agent.journal import Journal
from agent.ledger import Ledger
from agent.local import LocalTask
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


async def test_a_task_that_this_node_never_saw_named_waits_until_all_have_come_as_far_as_it_has() -> None:
    """Others may have been told of it, and of its end not yet: this node read only what came after."""
    bus, files, chance = MemoryBroker(random.Random(1)).connect("agent-n1"), MemoryFiles(), random.Random(1)
    clock, prompts = TurnedClock(1000.0), list[float]()
    ledger = Ledger(files, Journal("n1", files, bus.events, clock))
    following = Following(bus.state, files, chance, set)
    leaving = Leaving(following, LinuxMachine(chance), clock, lambda: prompts.append(clock.now), ledger)
    following.level, leaving.everywhere = 7, 6
    assert not leaving.may_stop("1-1", 10.0)
    assert prompts == [1000.0]
    leaving.everywhere = 7
    assert leaving.may_stop("1-1", 10.0)


async def test_only_an_answer_that_came_after_the_stop_was_wanted_counts() -> None:
    """Its record went long ago; a node that was down then is back, and may still send to it."""
    bus, files, chance = MemoryBroker(random.Random(1)).connect("agent-n1"), MemoryFiles(), random.Random(1)
    clock = TurnedClock(1000.0)
    ledger = Ledger(files, Journal("n1", files, bus.events, clock))
    ledger.put(LocalTask(id="1-1", service="web", slot="1", state="running", addresses={"front": "10.192.1.2"}))
    following = Following(bus.state, files, chance, set)
    leaving = Leaving(following, LinuxMachine(chance), clock, lambda: None, ledger)
    following.left["1-1"] = 7
    leaving.heard(9)
    assert not leaving.may_stop("1-1", 10.0)
    leaving.heard(5)
    assert not leaving.may_stop("1-1", 10.0), "it is back"
    leaving.heard(9)
    assert not leaving.may_stop("1-1", 10.0), "what is on its way"
    clock.now += 0.3
    assert leaving.may_stop("1-1", 10.0)


async def test_a_task_on_no_network_is_not_waited_for_whatever_other_nodes_are_busy_with() -> None:
    bus, files, chance = MemoryBroker(random.Random(1)).connect("agent-n1"), MemoryFiles(), random.Random(1)
    clock = TurnedClock(1000.0)
    ledger = Ledger(files, Journal("n1", files, bus.events, clock))
    ledger.put(LocalTask(id="1-1", service="web", slot="1", state="running"))
    following = Following(bus.state, files, chance, set)
    following.level = 60
    leaving = Leaving(following, LinuxMachine(chance), clock, lambda: None, ledger)
    leaving.heard(1)
    assert leaving.may_stop("1-1", 10.0)
