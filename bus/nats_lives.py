"""One client of the library, from being connected to one server until its end; is that server still there?"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from nats import errors as nats_errors
from nats.aio.client import Client

from bus.nats_calls import FLUSH_TIMEOUT, abort, close, connect
from bus.permissions import inbox_prefix
from bus.users import Credentials

log = structlog.get_logger()

PING_INTERVAL = 1
PINGS_MISSED = 2

MOVE_TIMEOUT = 1.0
"""Seconds in which another server must let a client in that wants to move there."""

LOOK_EVERY = 1.0
"""Seconds between two looks whether a client is closed without having said so."""

SLICE = 0.1
"""Seconds of one wait for an answer. A process that gets no processor time is late in one of them, not in all."""


@dataclass(frozen=True, eq=False)
class Life:
    """A connected client."""

    server: str
    client: Client
    ended: asyncio.Event
    taken: asyncio.Event
    """Set when it has become the connection, with everything subscribed, or did not come to it."""

    async def until_ended(self) -> None:
        """Wait until the client has said that it is closed, or is closed and did not come to say it."""
        while not self.client.is_closed and not self.ended.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await self.ended.wait()

    def give_up(self) -> None:
        """End it at once: what was not sent yet is dropped, since its server takes nothing."""
        abort(self.client)
        self.ended.set()


async def open_life(credentials: Credentials, server: str, timeout: float) -> Life:
    """Connect to one server. Raises TimeoutError, errors of the library, OSError; then nothing is left open."""
    ended = asyncio.Event()
    client = Client()

    async def on_closed() -> None:
        ended.set()

    async def on_error(error: Exception) -> None:
        log.debug("bus.error", error=str(error))

    try:
        await connect(
            client,
            server,
            name=credentials.name or credentials.user or None,
            user=credentials.user or None,
            password=credentials.password or None,
            inbox_prefix=inbox_prefix(credentials.user),
            flush_timeout=FLUSH_TIMEOUT,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=timeout,
            ping_interval=PING_INTERVAL,
            max_outstanding_pings=PINGS_MISSED,
            closed_cb=on_closed,
            error_cb=on_error,
        )
    except BaseException:
        await close(client)
        raise
    return Life(server, client, ended, asyncio.Event())


async def open_elsewhere(credentials: Credentials, servers: Sequence[str]) -> Life | None:
    """Connect to the first of these servers that lets this client in; None: none does."""
    for server in servers:
        try:
            return await open_life(credentials, server, MOVE_TIMEOUT)
        except (TimeoutError, nats_errors.Error, OSError) as error:
            log.debug("bus.not_moved", server=server, error=str(error))
    return None


async def answers(pong: asyncio.Future[bool], limit: float) -> bool:
    """Whether a PONG comes within `limit` seconds in which this process has run."""
    for _ in range(math.ceil(limit / SLICE)):
        await asyncio.wait([pong], timeout=SLICE)
        if pong.done():
            return True
    return False
