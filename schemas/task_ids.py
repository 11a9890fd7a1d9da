"""What a task id tells: `<epoch>-<n>` as a leader minted it, with `.r<m>` for the `m`-th successor by an agent."""

from __future__ import annotations


def lineage(task: str) -> str:
    """The id that the leader minted: that of the first in a chain of successors."""
    return task.partition(".")[0]
