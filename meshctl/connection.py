"""Connecting for a command: soon, or not at all (services wait for ever; people don't)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from bus.port import Bus, Credentials
from schemas.clock import Clock
from schemas.errors import Unreachable


@asynccontextmanager
async def connected(credentials: Credentials, clock: Clock, timeout: float) -> AsyncIterator[Bus]:
    """A bus on real NATS. Raises Unreachable if no server answers within `timeout` seconds."""
    from bus import nats

    async with AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(timeout):
                bus: Bus = await stack.enter_async_context(nats.connect(credentials, clock=clock))
        except TimeoutError as error:
            servers = ", ".join(credentials.servers)
            raise Unreachable(
                f"no NATS server answers at {servers} (waited {timeout:g} s)",
                hint="is nats-server running there, and is this the right context? (meshctl context ls)",
            ) from error
        yield bus
