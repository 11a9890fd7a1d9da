"""What every request is answered with, and how it is opened."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from schemas.errors import MeshError, error_of
from schemas.wire import Wire, decode, encode

T = TypeVar("T")

LONGEST = 10_000
"""Characters of an error's text: it may quote what was asked for, and an answer over the bus's limit can't be sent."""


class Fault(Wire, frozen=True, kw_only=True):
    """An error on the wire."""

    code: str
    message: str
    hint: str = ""


class Reply(Wire, frozen=True, kw_only=True):
    """What every request is answered with: `body` or `error`."""

    body: msgspec.Raw = msgspec.Raw(b"null")
    error: Fault | None = None


def reply_with(body: object) -> bytes:
    """The bytes of a good answer."""
    return encode(Reply(body=msgspec.Raw(encode(body))))


def reply_error(error: MeshError) -> bytes:
    """The bytes of an answer that says no; its text is cut after `LONGEST`."""
    message = error.message if len(error.message) <= LONGEST else f"{error.message[:LONGEST]}..."
    return encode(Reply(error=Fault(code=error.code, message=message, hint=error.hint)))


def open_reply(data: bytes, kind: type[T]) -> T:
    """The body of an answer. Raises the error that it carries."""
    reply = decode(data, Reply)
    if reply.error is not None:
        raise error_of(reply.error.code, reply.error.message, reply.error.hint)
    return decode(bytes(reply.body), kind)
