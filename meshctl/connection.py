"""Connecting for a command: soon, or not at all (services wait for ever; people don't)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from bus.port import Bus
from bus.users import Credentials
from schemas.clock import Clock
from schemas.errors import Refused, Unreachable


@asynccontextmanager
async def connected(credentials: Credentials, clock: Clock, timeout: float) -> AsyncIterator[Bus]:
    """A bus on real NATS. Raises Unreachable if no server answers within `timeout` seconds, Refused if it says no."""
    from bus import nats

    opened: AbstractAsyncContextManager[Bus] = nats.connect(credentials, clock=clock, timeout=timeout)
    entered = False
    try:
        async with opened as bus:
            entered = True
            yield bus
    except (Unreachable, Refused) as error:
        if entered:
            raise
        raise _worded(error, credentials, timeout) from error


def _worded(error: Unreachable | Refused, credentials: Credentials, timeout: float) -> Unreachable | Refused:
    servers = ", ".join(credentials.servers)
    if isinstance(error, Refused):
        return Refused(f"{servers}: {error.message}", hint="is this the right context? (meshctl context ls)")
    return Unreachable(
        f"no NATS server answers at {servers} (waited {timeout:g} s)",
        hint="is nats-server running there, and is this the right context? (meshctl context ls)",
    )
