"""What a batch of writes must look like, and the order in which a store takes it."""

from __future__ import annotations

from collections.abc import Sequence

from bus.commits import BATCH_BYTES, BATCH_MESSAGES, Put, Write
from schemas.assignment import ASSIGNMENT_LIMIT

WRITE_OVERHEAD = 64
"""Bytes counted for each write beside its key and value (headers)."""


VALUE_BYTES = ASSIGNMENT_LIMIT
"""Bytes of one value: no record is larger than an assignment."""


def write_bytes(write: Write) -> int:
    """What a write counts against `BATCH_BYTES`."""
    value = len(write.value) if isinstance(write, Put) else 0
    return len(write.key) + value + WRITE_OVERHEAD


def check_batch(batch: Sequence[Write]) -> None:
    """Raises ValueError: empty, over the limits, a key twice, or a key that is no literal subject."""
    if not batch:
        raise ValueError("an empty batch")
    if len(batch) > BATCH_MESSAGES:
        raise ValueError(f"{len(batch)} writes in a batch, at most {BATCH_MESSAGES}")
    for write in batch:
        if isinstance(write, Put) and len(write.value) > VALUE_BYTES:
            raise ValueError(f"{write.key} has {len(write.value)} bytes, at most {VALUE_BYTES}")
    size = sum(write_bytes(write) for write in batch)
    if size > BATCH_BYTES:
        raise ValueError(f"a batch of {size} bytes, at most {BATCH_BYTES}")
    keys = [write.key for write in batch]
    if len(set(keys)) != len(keys):
        raise ValueError(f"a key twice in a batch: {sorted(key for key in set(keys) if keys.count(key) > 1)[0]}")
    for key in keys:
        if not _is_literal(key):
            raise ValueError(f"no key: {key!r}")


def fence_first(batch: Sequence[Write]) -> tuple[Write, ...]:
    """The batch with a write that checks nothing of its own in front: there the fence is checked.

    Otherwise the order stays. If every write checks something the batch comes back as it is.
    """
    free = next((write for write in batch if write.expected is None), None)
    if free is None:
        return tuple(batch)
    return (free, *(write for write in batch if write is not free))


def _is_literal(key: str) -> bool:
    tokens = key.split(".")
    return all(
        token and token not in ("*", ">") and token.isascii() and token.isprintable() and " " not in token
        for token in tokens
    )
