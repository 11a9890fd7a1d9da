"""Minting task ids (`schemas.task_ids`): n is never used again within an epoch."""

from __future__ import annotations

from dataclasses import dataclass

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def base36(number: int) -> str:
    """`number` (>= 0) in base 36, lower case."""
    digits = _DIGITS[number % 36]
    while number := number // 36:
        digits = _DIGITS[number % 36] + digits
    return digits


@dataclass
class Mint:
    """Makes the ids of one round. `minted` is the highest number used in this epoch."""

    epoch: int
    minted: int

    def next(self) -> str:
        """A fresh id."""
        self.minted += 1
        return f"{base36(self.epoch)}-{base36(self.minted)}"
