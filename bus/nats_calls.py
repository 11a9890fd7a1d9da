"""Every call to the nats library: its errors told as errors of the mesh, its quirks made good.

The library loses cancellations: it swallows one that comes while it flushes, and on Python 3.11 its `wait_for` one that
comes together with an answer. A task group cancels once, so a task that lost it would run for ever. `kept` makes that
good; no module but this one awaits the library.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, TypeVar

from nats import errors as nats_errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from schemas.errors import Refused, Unreachable, UsageError

T = TypeVar("T")

FLUSH_TIMEOUT = 2
"""Seconds until what is sent must be out."""

CLOSE_TIMEOUT = 0.5
"""Seconds that closing may take; a server that is frozen or cut off takes nothing any more."""


async def kept(call: Awaitable[T]) -> T:
    """Await a call to the library; a cancellation that it lost on the way is raised in place of its result.

    The count is compared with what it was: a task can have one of 1 that it has dealt with (a TaskGroup that was ended
    by a child leaves it behind).
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        result = await call
    except Exception:
        if task and task.cancelling() > before:
            raise asyncio.CancelledError from None
        raise
    if task and task.cancelling() > before:
        raise asyncio.CancelledError
    return result


async def connect(client: Client, server: str, **options: Any) -> None:
    """Connect to one server."""
    await kept(client.connect(servers=[server], **options))


async def publish(client: Client, subject: str, data: bytes, reply: str, headers: Mapping[str, str] | None) -> None:
    """Publish."""
    await kept(client.publish(subject, data, reply=reply, headers=dict(headers) if headers else None))


async def subscribe(client: Client, subject: str, queue: str, handler: Callable[[Msg], None]) -> Subscription:
    """Subscribe; the server knows of it after the next `barrier`."""

    async def deliver(message: Msg) -> None:
        handler(message)

    return await kept(client.subscribe(subject, queue=queue, cb=deliver))


async def unsubscribe(subscription: Subscription) -> None:
    """Take a subscription away."""
    await kept(subscription.unsubscribe())


async def barrier(client: Client) -> None:
    """Wait until the server has dealt with all that was sent. Raises TimeoutError.

    The library's PING overtakes what its flusher has not written yet; when the first one is answered, it has.
    """
    async with asyncio.timeout(2 * FLUSH_TIMEOUT):
        for _ in range(2):
            await asyncio.shield(await ping(client))


async def ping(client: Client) -> asyncio.Future[bool]:
    """Send a PING. What comes back is done when its PONG is there, and never to be cancelled: the library's reading
    ends when it does not find it waiting. Not by `Client.flush`, which cancels it."""
    pong: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    await kept(client._send_ping(pong))
    return pong


def abort(client: Client) -> None:
    """Drop the connection without a word, and what was not sent yet with it."""
    writer = getattr(client._transport, "_io_writer", None)
    if writer is not None:
        writer.transport.abort()


async def close(client: Client) -> None:
    """Close, in good order if the server lets it, within CLOSE_TIMEOUT in any case."""
    subscriptions = list(client._subs.values())
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT):
            await kept(client.close())
    except (TimeoutError, nats_errors.Error, OSError):
        pass
    finally:
        # What the library leaves behind where it waits for a server that takes nothing any more.
        for subscription in subscriptions:
            subscription._stop_processing()
        abort(client)


@contextlib.contextmanager
def translated(subject: str, timeout: float = 0.0) -> Iterator[None]:
    """Errors of the library as errors of the mesh."""
    try:
        yield
    except (TimeoutError, nats_errors.TimeoutError):
        raise Unreachable(f"no answer on {subject} within {timeout:g} s") from None
    except nats_errors.MaxPayloadError as error:
        raise Refused(f"a message on {subject} is too large: {error}") from error
    except nats_errors.BadSubjectError as error:
        raise UsageError(f"{subject!r} is no subject") from error
    except (nats_errors.Error, OSError) as error:
        raise Unreachable(f"{subject}: {error or type(error).__name__}") from error
