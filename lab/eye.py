"""A blocking look at the mesh over one connection that is kept up: for demos and tests that wait for something."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TypeVar

from bus.nats import connect
from bus.port import Bus
from bus.users import Credentials
from schemas import subjects
from schemas.clock import SystemClock
from schemas.errors import MeshError, TimedOut, Unreachable
from schemas.liveness import LeaderBeat
from schemas.memberapi import ListNodes, NodeList, NodeView
from schemas.replies import open_reply
from schemas.taskapi import ListTasks, TaskList, TaskView
from schemas.wire import Wire, decode, encode

T = TypeVar("T")
W = TypeVar("W", bound=Wire)

INTERVAL = 0.1
"""Seconds between two looks of a wait."""


class Eye:
    """Look with `tasks`, `nodes`, `leader`; wait with `wait_until`. Use it as a context."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._open = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._stay()), name="eye", daemon=True)
        self._bus: Bus | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed: asyncio.Event | None = None

    def __enter__(self) -> Eye:
        self._thread.start()
        if not self._open.wait(30):
            raise Unreachable("no nats-server of the lab answers")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None and self._closed is not None:
            self._loop.call_soon_threadsafe(self._closed.set)
        self._thread.join(10)

    def tasks(self, service: str = "", *, ended: bool = False) -> tuple[TaskView, ...]:
        """Tasks and waiting slots. Raises Unreachable while no controller answers."""
        return self._ask("task", "list", ListTasks(service=service, ended=ended), TaskList).tasks

    def nodes(self) -> tuple[NodeView, ...]:
        """Nodes with the leader's verdicts. Raises Unreachable while no controller answers."""
        return self._ask("node", "list", ListNodes(), NodeList).nodes

    def leader(self, patience: float = 5.0) -> LeaderBeat:
        """Who says "I lead" next. Raises Unreachable after `patience` seconds of silence."""
        return self._run(lambda bus: _next_beat(bus, patience))

    def wait_until(self, what: str, holds: Callable[[], bool], patience: float, since: float | None = None) -> float:
        """Look until it holds; the seconds since then (on the monotonic clock). Raises TimedOut, saying `what`."""
        began = time.monotonic() if since is None else since
        while True:
            try:
                if holds():
                    return time.monotonic() - began
            except Unreachable:
                pass  # nobody leads for a moment: that is part of what is waited out
            if time.monotonic() - began > patience:
                raise TimedOut(f"after {patience:g} s it is still not so that {what}")
            time.sleep(INTERVAL)

    def _ask(self, noun: str, verb: str, request: Wire, kind: type[W]) -> W:
        async def asked(bus: Bus) -> W:
            answer = await bus.core.request(subjects.api(noun, verb), encode(request), timeout=2.0)
            return open_reply(answer, kind)

        return self._run(asked)

    def _run(self, work: Callable[[Bus], Awaitable[T]]) -> T:
        bus, loop = self._bus, self._loop
        if bus is None or loop is None:
            raise Unreachable("the eye is closed")

        async def worked() -> T:
            return await work(bus)

        return asyncio.run_coroutine_threadsafe(worked(), loop).result(30)

    async def _stay(self) -> None:
        self._loop, self._closed = asyncio.get_running_loop(), asyncio.Event()
        try:
            async with connect(self._credentials, clock=SystemClock(), timeout=25) as bus:
                self._bus = bus
                self._open.set()
                await self._closed.wait()
        except MeshError:
            return  # nobody answered: __enter__ tells it
        finally:
            self._bus = None


async def _next_beat(bus: Bus, patience: float) -> LeaderBeat:
    try:
        async with asyncio.timeout(patience), bus.core.subscribe(subjects.LEADER) as beats:
            while True:
                beat = decode((await beats.next()).data, LeaderBeat)
                if not beat.stepping_down:
                    return beat
    except TimeoutError:
        raise Unreachable(f"nobody has led for {patience:g} s") from None
