"""Blocking calls in a few threads of our own, so that a hanging engine blocks neither the loop nor the process's end.

At most `count` calls run at once; the rest wait in order, urgent ones (looks) before the others (changes). A call has
its own time limit, counted from when it runs. When one runs out of time, and no other was answered meanwhile, all that
wait are given up with it: the engine hangs, and whoever waits shall hear of it now. Nobody waits for a turn for ever
but who asks for that (`limit=None`). The threads are daemons: a call stuck in the kernel does not keep the process.
Each thread keeps what `connect` made for it, until a call finds the engine unavailable.
"""

from __future__ import annotations

import asyncio
import collections
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from schemas.errors import EngineUnavailable

T = TypeVar("T")
C = TypeVar("C")

MARGIN = 1.0
"""Seconds that the thread's own socket limit gets before the caller is let go without it."""

TURN = 120.0
"""Seconds that a call with a limit waits for a free thread: more than any such call may take."""


@dataclass
class _Job(Generic[C]):
    work: Callable[[C], Any]
    future: asyncio.Future[Any]


class Workers(Generic[C]):
    """A bounded set of threads, each with its own connection."""

    def __init__(self, count: int, name: str, connect: Callable[[], C], disconnect: Callable[[C], None]) -> None:
        self._count = count
        self._name = name
        self._connect = connect
        self._disconnect = disconnect
        self._busy = 0
        self._answers = 0
        """Calls that the engine has answered."""
        self._threads: list[threading.Thread] = []
        self._jobs: queue.SimpleQueue[_Job[C] | None] = queue.SimpleQueue()
        self._urgent: collections.deque[asyncio.Future[None]] = collections.deque()
        self._others: collections.deque[asyncio.Future[None]] = collections.deque()
        self._closed = False

    async def run(self, work: Callable[[C], T], *, limit: float | None, what: str, urgent: bool = False) -> T:
        """The result of `work` in a thread. Raises what it raises, or EngineUnavailable after `limit` seconds."""
        try:
            async with asyncio.timeout(None if limit is None else TURN):
                future = await self.begin(work, urgent=urgent)
        except TimeoutError:
            raise EngineUnavailable(f"no call of the container engine has ended for {TURN:g} s ({what})") from None
        answers = self._answers
        try:
            async with asyncio.timeout(None if limit is None else limit + MARGIN):
                return await future
        except TimeoutError:
            text = f"the container engine did not answer within {limit:g} s ({what})"
            self._give_up(text, answers)
            raise EngineUnavailable(text) from None
        except EngineUnavailable as error:
            self._give_up(error.message, answers)
            raise

    async def begin(self, work: Callable[[C], T], *, urgent: bool = False) -> asyncio.Future[T]:
        """Start `work` as soon as a thread is free; the future of its result."""
        await self._acquire(urgent=urgent)
        if self._closed:
            self._release()
            raise EngineUnavailable("the connection to the container engine is closed")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if len(self._threads) < self._busy:
            name = f"{self._name}-{len(self._threads)}"
            thread = threading.Thread(target=self._serve, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()
        self._jobs.put(_Job(work, future))
        return future

    def close(self) -> None:
        """Let the threads end; those in a call end after it."""
        self._closed = True
        self._give_up("the connection to the container engine is closed", self._answers)
        for _ in self._threads:
            self._jobs.put(None)

    async def _acquire(self, *, urgent: bool) -> None:
        if self._busy < self._count:
            self._busy += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        (self._urgent if urgent else self._others).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._release()
            raise

    def _release(self) -> None:
        for line in (self._urgent, self._others):
            while line:
                turn = line.popleft()
                if not turn.done():
                    turn.set_result(None)
                    return
        self._busy -= 1

    def _give_up(self, text: str, answers: int) -> None:
        """Let go those that wait, if there were no more answers than these."""
        if answers != self._answers:
            return
        for line in (self._urgent, self._others):
            while line:
                turn = line.popleft()
                if not turn.done():
                    turn.set_exception(EngineUnavailable(text))

    def _serve(self) -> None:
        connection: C | None = None
        while (job := self._jobs.get()) is not None:
            result: object = None
            error: BaseException | None = None
            try:
                if connection is None:
                    connection = self._connect()
                result = job.work(connection)
            except EngineUnavailable as unavailable:
                error = unavailable
                if connection is not None:
                    self._disconnect(connection)
                    connection = None
            except BaseException as raised:  # it belongs to whoever asked
                error = raised
            if not self._tell(job.future, result, error):
                break
            del job, result, error
        if connection is not None:
            self._disconnect(connection)

    def _tell(self, future: asyncio.Future[Any], result: object, error: BaseException | None) -> bool:
        """Hand a result to the loop; False if the loop is gone."""

        def finish() -> None:
            self._release()
            self._answers += not isinstance(error, EngineUnavailable)
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        try:
            future.get_loop().call_soon_threadsafe(finish)
        except RuntimeError:
            return False
        return True
