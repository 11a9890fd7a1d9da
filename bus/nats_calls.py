"""Calls to the nats library: its errors told as errors of the mesh, its quirks made good."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping

from nats import errors as nats_errors
from nats.aio.client import Client

from schemas.errors import Refused, Unreachable, UsageError

FLUSH_TIMEOUT = 2
"""Seconds until what is sent must be out."""


async def publish(client: Client, subject: str, data: bytes, reply: str, headers: Mapping[str, str] | None) -> None:
    """Publish; the library swallows a cancellation that meets it while it flushes."""
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    await client.publish(subject, data, reply=reply, headers=dict(headers) if headers else None)
    if task and task.cancelling() > before:
        raise asyncio.CancelledError


async def barrier(client: Client) -> None:
    """Wait until the server has dealt with all that was sent.

    The library's PING overtakes what its flusher has not written yet; when the first one is answered, it has.
    """
    await client.flush(timeout=FLUSH_TIMEOUT)
    await client.flush(timeout=FLUSH_TIMEOUT)


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
