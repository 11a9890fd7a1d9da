"""The bus over a real NATS. Start here; `bus.nats_line` keeps the connection up, the others speak over it.

`connect` is the way in, and `open_bus` for who does not wait for a connection. Agents use the same class with what
their permissions allow: heartbeats, answers to requests,
`state.read_near` and `state.watch` of their own assignment, `observed.commit` of their own key, `events.append`.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bus.nats_core import NatsAdvisories, NatsCore
from bus.nats_events import NatsEvents
from bus.nats_line import Line
from bus.nats_store import NatsStore, StoreNames
from bus.permissions import check_controller
from bus.port import Bus, Core, EventLog, Store, Subscription
from bus.users import Credentials
from schemas import subjects
from schemas.clock import Clock
from schemas.errors import Refused, Unreachable

STATE = StoreNames(subjects.STATE_STREAM, subjects.STATE_PREFIX, subjects.STATE_REPUBLISHED)
OBSERVED = StoreNames(subjects.OBSERVED_STREAM, subjects.OBSERVED_PREFIX, subjects.OBSERVED_REPUBLISHED)


@asynccontextmanager
async def open_bus(credentials: Credentials, *, rng: random.Random | None = None) -> AsyncIterator[Bus]:
    """A bus at once, without waiting for a connection: one is made and kept up until the context ends.

    For who has work to do while NATS is away; until there is a connection its calls raise Unreachable. An error inside
    the context comes out as it is.
    """
    async with _opened(credentials, rng) as bus:
        yield bus


@asynccontextmanager
async def connect(
    credentials: Credentials,
    *,
    clock: Clock | None = None,  # noqa: ARG001 (part of the door: adapters without a loop would need it)
    rng: random.Random | None = None,
    timeout: float | None = None,
) -> AsyncIterator[Bus]:
    """A connection to the mesh that is kept up until the context ends.

    Args:
        timeout: seconds to wait for the first connection; None: for ever, with a log line for each new reason.

    Raises:
        Unreachable: no server answered within `timeout`.
        Refused: the servers do not accept the credentials (only with a `timeout`).
    """
    async with _opened(credentials, rng) as bus:
        await _wait_until_up(bus.line, timeout)
        yield bus


class NatsBus:
    """See `bus.port.Bus`."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self.core: Core = NatsCore(line)
        self.state: Store = NatsStore(line, STATE)
        self.observed: Store = NatsStore(line, OBSERVED)
        self.events: EventLog = NatsEvents(line, self.state)

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._line.connected

    @property
    def line(self) -> Line:
        """The connection: for `bus.nats_admin` alone."""
        return self._line

    async def check_line(self, limit: float) -> bool:
        """See `bus.port.Bus`."""
        return await self._line.check(limit)

    def disconnects(self) -> Subscription:
        """See `bus.port.Bus`."""
        check_controller(self._line.user, "hear disconnect advisories")
        return NatsAdvisories(self._line)


@asynccontextmanager
async def _opened(credentials: Credentials, rng: random.Random | None) -> AsyncIterator[NatsBus]:
    rng = rng or random.Random(secrets.randbits(64))  # noqa: S311 (spreads reconnects, no secret)
    failure: Exception | None = None
    async with asyncio.TaskGroup() as group:
        line = Line(credentials, rng, group)
        line.start(line.run())
        try:
            yield NatsBus(line)
        except Exception as error:  # raised again below, outside the group that would wrap it
            failure = error
        finally:
            line.stop()
    if failure is not None:
        raise failure


async def _wait_until_up(line: Line, timeout: float | None) -> None:
    try:
        async with asyncio.timeout(timeout):
            await line.up.wait()
    except TimeoutError:
        if line.refused:
            raise Refused(f"the servers do not accept the credentials of {line.user!r}: {line.refused}") from None
        raise Unreachable(f"no NATS server answers within {timeout:g} s") from None
