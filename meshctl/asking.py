"""Asking the controllers: any of them may answer, and one that has taken a request may die with it.

So what is not answered soon is asked again while the first is still waited for, and the first answer counts. So is what
a controller can't answer now because its store does not answer it. A write is asked again under the same command id, by
which the controllers know what is done already, and tells them until when it holds, by the store's clock.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from msgspec.structs import replace

from bus.port import Bus
from schemas.errors import BadMessage, Internal, MeshError, StoreSilent, TimedOut, Unreachable
from schemas.replies import Reply
from schemas.requests import Command
from schemas.wire import decode, encode

WRITE_TIMEOUT = 15.0
DEPLOY_TIMEOUT = 180.0
"""A deploy may make nodes pull images before it is answered."""

NODE_TIMEOUT = 10.0
"""Seconds that a node's agent has for an answer."""

READ_TIMEOUT = 2.0
READ_ATTEMPTS = 3
"""A read waits so long for an answer, so many times."""

PATIENCE = 1.0
"""Seconds after which is asked again, twice as many the next time. Most answers take a tenth of that."""

REPEAT_AFTER = 0.5
"""Seconds between a failure and the next try."""

LAST_WORD = 3.0
"""A write that nobody answered is sent once more, so long: if it was done, that is told now."""

STREAM_TIMEOUT = 15.0
"""Seconds that a stream has for an answer: it is without a leader for 4 to 9 s where a nats-server died or woke up."""

TIME_TIMEOUT = 1.0

LOOK = "it may or may not have been done: look before you repeat it"


Answer = TypeVar("Answer")

Ask = Callable[[float], Awaitable[Answer]]
"""One request that waits for so many seconds."""


@dataclass(frozen=True)
class Persistence:
    """How long and how often is asked."""

    each: float
    """Seconds that one request waits at most."""
    attempts: float = math.inf
    seconds: float = math.inf
    """After so many no other request is begun, and none waits longer."""
    pause: float = 0.0
    """Seconds after a failed request."""


async def read(bus: Bus, subject: str, data: bytes, timeout: float) -> bytes:
    """Ask for something. Raises Unreachable (StoreSilent, too), TimedOut."""

    async def ask(seconds: float) -> bytes:
        return await _answered(bus, subject, data, seconds)

    try:
        return await first_answer(ask, Persistence(each=timeout, attempts=READ_ATTEMPTS, pause=REPEAT_AFTER))
    except StoreSilent:
        raise
    except Unreachable as error:
        raise _no_controller(error, wrote=False) from error


async def ask_stream(question: Callable[[], Awaitable[Answer]]) -> Answer:
    """Ask the servers themselves for something in a stream. Raises Unreachable."""
    how = Persistence(each=STREAM_TIMEOUT, seconds=STREAM_TIMEOUT, pause=REPEAT_AFTER)
    return await first_answer(lambda _seconds: question(), how)


async def write(bus: Bus, subject: str, request: Command, timeout: float) -> bytes:
    """Have something done, once. Raises Unreachable, TimedOut: it is not known whether it was done."""
    now = await _store_time(bus)
    until = request.until or (now + timeout + LAST_WORD if now else 0.0)
    command = request.command or f"c{secrets.token_hex(8)}"
    data = encode(replace(request, command=command, until=until))

    doubtful = False

    async def ask(seconds: float) -> bytes:
        nonlocal doubtful
        try:
            return await _answered(bus, subject, data, seconds)
        except StoreSilent:
            raise
        except (Unreachable, TimedOut):
            doubtful = True
            raise

    try:
        return await first_answer(ask, Persistence(each=timeout, seconds=timeout, pause=REPEAT_AFTER))
    except (Unreachable, TimedOut):
        pass
    try:
        return await ask(min(LAST_WORD, timeout))
    except StoreSilent as error:
        if not doubtful:
            raise
        raise Unreachable("it is not known whether it was done: the store does not answer", hint=LOOK) from error
    except Unreachable as error:
        raise _no_controller(error, wrote=True) from error


async def first_answer(ask: Ask[Answer], how: Persistence) -> Answer:
    """The first answer of several equal requests. Raises what the last of them raised."""
    loop = asyncio.get_running_loop()
    end = loop.time() + how.seconds
    outcomes: asyncio.Queue[Answer | MeshError] = asyncio.Queue()
    outcome: Answer | MeshError = Unreachable("no time to ask")
    patience, begun, failed = PATIENCE, 0, 0

    async def once() -> None:
        try:
            outcomes.put_nowait(await ask(min(how.each, end - loop.time())))
        except MeshError as error:
            outcomes.put_nowait(error)

    async with asyncio.TaskGroup() as group:
        asked = []
        while True:
            if begun < how.attempts and loop.time() < end:
                asked.append(group.create_task(once(), name=f"request {begun}"))
                begun += 1
            elif failed == begun:
                break
            try:
                async with asyncio.timeout(patience):
                    outcome = await outcomes.get()
            except TimeoutError:
                patience *= 2
                continue
            if not isinstance(outcome, Unreachable | TimedOut):
                break
            failed += 1
            await asyncio.sleep(min(how.pause, max(0.0, end - loop.time())))
        for task in asked:
            task.cancel()
    if isinstance(outcome, MeshError):
        raise outcome
    return outcome


async def _answered(bus: Bus, subject: str, data: bytes, timeout: float) -> bytes:
    """An answer, whatever it says; but raises TimedOut where it says that the outcome is not known, or that the
    controller does not know enough yet, and StoreSilent where it says that the store does not answer."""
    answer = await bus.core.request(subject, data, timeout=timeout)
    try:
        fault = decode(answer, Reply).error
    except BadMessage as error:
        raise unreadable(subject, error) from error
    if fault is not None and fault.code == TimedOut.code:
        raise TimedOut(fault.message, hint=fault.hint)
    if fault is not None and fault.code == Unreachable.code:
        raise StoreSilent(fault.message, hint=fault.hint)
    return answer


def unreadable(name: str, error: BadMessage) -> Internal:
    """The error for bytes that are no answer."""
    hint = "do meshctl and the mesh have the same version? (meshctl version)"
    return Internal(f"the answer to {name} can't be read: {error.message}", hint=hint)


async def _store_time(bus: Bus) -> float:
    """The time by the store's clock; 0.0: it is not told, and the command holds for ever."""
    try:
        async with asyncio.timeout(TIME_TIMEOUT):
            return (await bus.state.info()).now
    except (MeshError, TimeoutError):
        return 0.0


def _no_controller(error: Unreachable, *, wrote: bool) -> Unreachable:
    hint = "is a controller running? (mesh-controller, or meshctl lab status)"
    if wrote:
        hint = f"{LOOK}; {hint}"
    return Unreachable(f"no controller answers: {error.message}", hint=hint)
