"""An asyncio event loop in virtual time: the clock jumps to the next timer, and nothing real can be waited for.

The order of callbacks is asyncio's own (the loop is `BaseEventLoop` with another selector). When nothing is ready
and no timer is set, the program would wait for ever: that is a `Deadlock`. Real sockets, threads, subprocesses and
sleeps raise `NotSimulated` (`tests.sim.refusal`). Code that spins without letting time pass is a `Livelock`.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections import deque
from collections.abc import Coroutine, Iterator
from contextvars import Context
from typing import Any, TypeVar

from tests.sim.refusal import NotSimulated, nothing_real
from tests.sim.suspension import Suspension

T = TypeVar("T")

STEPS_PER_INSTANT = 200_000
"""Turns of the loop at one virtual instant before it counts as a livelock."""

STEPS_PER_TICK = 10_000
"""Turns at one instant after which the clock moves on by its resolution, as a real one does while a program computes:
asyncio fires timers that much early, so whoever waits for a moment closer than that looks again and again."""

START = 1_000.0
"""Where virtual time starts (seconds): not 0, so that forgotten defaults show."""


class Deadlock(BaseException):
    """Everything waits for something that will never come."""


class Livelock(BaseException):
    """The program turns without letting time pass."""


class Endless(BaseException):
    """The program was to have ended long ago."""


class _NoFiles:
    """The selector of a world without files: waiting is letting virtual time pass."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        self._loop.let_pass(timeout)
        return []

    def close(self) -> None:
        """Nothing is open."""


class SimLoop(asyncio.BaseEventLoop):
    """The loop; `asyncio.Runner(loop_factory=SimLoop)` runs a program on it."""

    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]

    def __init__(self) -> None:
        super().__init__()
        self._now = START
        self._selector = _NoFiles(self)
        self._clock_resolution = 1e-9
        self._at_instant = 0
        self.turns = 0
        self._suspension = Suspension()
        self.ends_at = math.inf
        """When the program must have ended."""

    def time(self) -> float:
        return self._now

    def let_pass(self, timeout: float | None) -> None:
        self.turns += 1
        if timeout is None:
            raise Deadlock(f"at {self._now:.3f} s nothing is ready and no timer is set")
        if timeout > 0:
            self._now += timeout
            if self._now > self.ends_at:
                raise Endless(f"still something waits at {self._now:.0f} s: {_names(self)}")
            self._at_instant = 0
            return
        self._at_instant += 1
        if self._at_instant > STEPS_PER_INSTANT:
            raise Livelock(f"{self._at_instant} turns at {self._now:.3f} s without time passing")
        if self._at_instant % STEPS_PER_TICK == 0:
            self._now += self._clock_resolution

    def stop_process(self, name: str) -> None:
        """Nothing of the process runs from now on (`tests.sim.suspension`)."""
        self._suspension.stop(name)

    def continue_process(self, name: str, *, timers_first: bool = False) -> None:
        """It goes on. `timers_first`: before it reads anything of what came meanwhile."""
        kept = self._suspension.go_on(name)
        timers = [handle for handle in kept if isinstance(handle, asyncio.TimerHandle)] if timers_first else []
        self._ready.extend(timers)
        if timers:  # what they wake is ready before the rest is
            self.call_soon(self._ready.extend, [handle for handle in kept if handle not in timers], context=Context())
        else:
            self._ready.extend(kept)

    def _process_events(self, event_list: list[Any]) -> None:
        assert not event_list
        if self._suspension:
            self._hold_back()

    def _hold_back(self) -> None:
        """Between waiting and doing: what is due goes to `_ready`, but for what processes that are stopped would do."""
        self._ready.extend(self._due())
        for _ in range(len(self._ready)):
            handle = self._ready.popleft()
            if not self._suspension.keeps(handle):
                self._ready.append(handle)

    def _due(self) -> Iterator[asyncio.Handle]:
        while self._scheduled and self._scheduled[0].when() < self._now + self._clock_resolution:
            timer = heapq.heappop(self._scheduled)
            timer._scheduled = False
            yield timer

    def _write_to_self(self) -> None:
        """There is no other thread that would have to wake this loop."""

    def call_soon_threadsafe(self, *_: Any, **__: Any) -> Any:
        raise NotSimulated("call_soon_threadsafe: no thread may speak to a simulated loop")

    def run_in_executor(self, *_: Any, **__: Any) -> Any:
        raise NotSimulated("run_in_executor: simulated code has no threads")

    def add_signal_handler(self, *_: Any, **__: Any) -> Any:
        raise NotSimulated("add_signal_handler: simulated processes have no signals")

    async def create_connection(self, *_: Any, **__: Any) -> Any:
        raise NotSimulated("create_connection: simulated code has no sockets")

    async def create_server(self, *_: Any, **__: Any) -> Any:
        raise NotSimulated("create_server: simulated code has no sockets")

    async def create_datagram_endpoint(self, *_: Any, **__: Any) -> Any:
        raise NotSimulated("create_datagram_endpoint: simulated code has no sockets")

    async def subprocess_exec(self, *_: Any, **__: Any) -> Any:
        raise NotSimulated("subprocess_exec: simulated code has no subprocesses")

    async def subprocess_shell(self, *_: Any, **__: Any) -> Any:
        raise NotSimulated("subprocess_shell: simulated code has no subprocesses")


def _names(loop: SimLoop) -> str:
    return ", ".join(sorted(task.get_name() for task in asyncio.all_tasks(loop)))


def run(main: Coroutine[Any, Any, T], *, limit: float = math.inf) -> T:
    """Run a program to its end in virtual time; `limit`: the seconds within which it must end."""
    with asyncio.Runner(loop_factory=SimLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, SimLoop)
        loop.ends_at = START + limit
        with nothing_real():
            return runner.run(main)
