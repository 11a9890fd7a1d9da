"""Messages of netlink as bytes: what the few need that pyroute2 has no words for. Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterator

HEADER, ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=HH")
TYPE_MASK = 0x3FFF
REQUEST, DUMP = 0x1, 0x300


def message(kind: int, flags: int, body: bytes) -> bytes:
    """A message to the kernel."""
    return HEADER.pack(HEADER.size + len(body), kind, flags, 0, 0) + body


def text_attribute(kind: int, value: str) -> bytes:
    """An attribute with a name."""
    data = value.encode() + b"\0"
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(data), kind) + data + bytes(_padded(len(data)) - len(data))


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and body of each message."""
    while len(data) >= HEADER.size:
        length, kind, *_ = HEADER.unpack_from(data)
        if length < HEADER.size:
            return
        yield kind, data[HEADER.size : length]
        data = data[_padded(length) :]


def attributes(body: bytes, start: int) -> dict[int, bytes]:
    """The attributes from a place on, by their numbers."""
    found: dict[int, bytes] = {}
    while start + ATTRIBUTE.size <= len(body):
        length, kind = ATTRIBUTE.unpack_from(body, start)
        found[kind & TYPE_MASK] = body[start + ATTRIBUTE.size : start + length]
        start += max(_padded(length), ATTRIBUTE.size)
    return found


def text(value: bytes) -> str:
    """A name."""
    return value.rstrip(b"\0").decode(errors="replace")


def _padded(length: int) -> int:
    return (length + 3) & ~3
