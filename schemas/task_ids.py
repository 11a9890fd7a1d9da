"""What a task id tells: `<epoch>-<n>` as a leader minted it, with `.r<m>` for the `m`-th successor by an agent.

Epoch and n are in base 36. A task's age is a tuple that orders ids by the moment they were minted: (epoch, n, m, ...).
"""

from __future__ import annotations


def lineage(task: str) -> str:
    """The id that the leader minted: that of the first in a chain of successors."""
    return task.partition(".")[0]


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
