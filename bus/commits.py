"""What a commit is given (writes, a fence) and what came of it: values that each ask for another next step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

BATCH_MESSAGES = 200
BATCH_BYTES = 2 * 1024 * 1024
"""The limits of one commit (DESIGN: limits)."""


@dataclass(frozen=True)
class Put:
    """Write `key`. `expected`: the sequence its last entry must have (0: there must be none); None: any."""

    key: str
    value: bytes
    expected: int | None = None


@dataclass(frozen=True)
class Delete:
    """Leave a tombstone at `key`."""

    key: str
    expected: int | None = None


Write: TypeAlias = Put | Delete


@dataclass(frozen=True)
class Fence:
    """The write stands only while the last entry of `election.epoch` has this sequence: the record's, not the number of
    the epoch, which its leader keeps when it renews the fence (`schemas.records.EpochRecord`)."""

    epoch: int


@dataclass(frozen=True)
class Committed:
    """All of the batch is stored; `sequence` is that of its last message, `first` of its first."""

    sequence: int
    first: int


@dataclass(frozen=True)
class Fenced:
    """Nothing is stored: another leads."""


@dataclass(frozen=True)
class Conflicted:
    """Nothing is stored: an `expected` did not hold (`why` names what the server said)."""

    why: str = ""


@dataclass(frozen=True)
class Busy:
    """Nothing is stored: the server had another write in flight; try again at once."""

    why: str = ""


@dataclass(frozen=True)
class Unknown:
    """It may or may not be stored: read before you go on."""

    why: str = ""


Outcome: TypeAlias = Committed | Fenced | Conflicted | Busy | Unknown
