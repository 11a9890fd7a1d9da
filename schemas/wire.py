"""The two kinds of structs, and the one codec.

`Wire` is what machines send each other: it tolerates unknown fields, so that a newer peer can speak to
an older one. `Manifest` is what a person types: an unknown key there is an error.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from functools import cache
from typing import Annotated, Any, TypeVar, cast

import msgspec
from msgspec import Meta

from schemas.errors import BadMessage

TOKEN_PATTERN = r"^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?\Z"
"""What a name must look like to become one token of a subject (DESIGN: token rule)."""

Token = Annotated[str, Meta(pattern=TOKEN_PATTERN)]
Count = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0)]
Bytes = Annotated[int, Meta(ge=0)]


class Wire(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message or record between machines; unknown fields are ignored."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something a person typed; unknown fields are refused."""


T = TypeVar("T")

_encoder = msgspec.json.Encoder()
_canonical = msgspec.json.Encoder(order="sorted")


UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are no JSON, not of that shape, or nested a thousand times."""


@cache
def _decoder(kind: Hashable) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(cast("Any", kind))


def encode(value: object) -> bytes:
    """The JSON bytes of a `Wire` struct (or of a union member with its tag)."""
    return _encoder.encode(value)


def decode(data: bytes, kind: type[T]) -> T:
    """The struct of `kind` in `data`.

    Raises:
        BadMessage: the bytes are no JSON, or not of that shape; the text says where.
    """
    try:
        return cast("T", _decoder(kind).decode(data))  # type: ignore[arg-type]
    except UNDECODABLE as error:
        name = getattr(kind, "__name__", str(kind))
        raise BadMessage(f"not a {name}: {error}") from error


def fingerprint(value: object) -> str:
    """The first 16 hex digits of the SHA-256 of the value's canonical JSON (sorted keys)."""
    return hashlib.sha256(_canonical.encode(value)).hexdigest()[:16]
