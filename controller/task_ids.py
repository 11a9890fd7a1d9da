"""Task ids: `<epoch>-<n>` in base 36, n never reused within an epoch; successors add `.r<m>`.

A task's age is a tuple that orders ids by the moment they were minted: (epoch, n, m, ...).
"""

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


def age(task: str) -> tuple[int, ...]:
    """The order in which ids were minted; () for an id that no leader makes."""
    root, *successors = task.split(".")
    epoch, dash, number = root.partition("-")
    try:
        if not dash:
            return ()
        return (int(epoch, 36), int(number, 36), *(int(part.removeprefix("r")) for part in successors))
    except ValueError:
        return ()
