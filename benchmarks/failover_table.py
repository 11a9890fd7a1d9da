"""What `failover.py` judges by, and the table that it prints for docs/RELIABILITY.md. Pure but for `commit`."""

from __future__ import annotations

import statistics
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

LEADER = (0.7, 1.5)
NODE = (2.7, 3.6)
RUNNING = (2.0, 2.0)
WRITES = (8.0, 8.0)
HAND_OVER = (0.3, 0.3)
BOTH = (LEADER[0] + NODE[0], LEADER[1] + NODE[1])
"""A leader and a node that are lost together: the sum, no blind window."""


@dataclass(frozen=True)
class Row:
    """A row of the table: what is measured from when to when, and what the median and the worst may be (seconds)."""

    began: str
    ended: str
    aim: tuple[float, float] | None = None
    """None: nothing is promised, or what containers need to start is in it."""


ROWS = {
    "leader-kill": Row("`kill -9` of the leader's process", "the next leader's first stored decision", LEADER),
    "leader-cut": Row("the leader's machine cut off, no connection closed", "the next leader's first stored decision"),
    "leader-stop": Row("SIGTERM to the leader", "the next leader's takeover is stored", HAND_OVER),
    "nats-kill": Row("`kill -9` of the nats-server that leads the store", "the next change is accepted", WRITES),
    "nats-stall": Row("SIGSTOP of the nats-server that leads the store", "the next change is accepted", WRITES),
    "nats-stall-other": Row("SIGSTOP of another nats-server", "the next change is accepted", WRITES),
    "node-seen": Row("power off of a node", 'its verdict "down" is stored', NODE),
    "node-running": Row("power off of a node", "all replicas run again"),
    "node-replaced": Row("the same, beyond the verdict and the containers' own start", "", RUNNING),
    "both-seen": Row("leader's process and a node lost together", 'the node\'s verdict "down" is stored', BOTH),
    "both-running": Row("leader's process and a node lost together", "all replicas run again"),
    "both-replaced": Row("the same, beyond the verdict and the containers' own start", "", RUNNING),
    "bare-kill": Row("JetStream alone: `kill -9` of a stream's leader", "a plain client's next write is taken"),
    "bare-stall": Row("JetStream alone: SIGSTOP of a stream's leader", "a plain client's next write is taken"),
    "swarm-seen": Row("Docker Swarm beside it: power off of a node", "its manager tells it as down"),
    "swarm-running": Row("Docker Swarm beside it: power off of a node", "all replicas run again"),
}

RATIOS = (
    ("node-seen", "swarm-seen"),
    ("node-running", "swarm-running"),
    ("nats-kill", "bare-kill"),
    ("nats-stall", "bare-stall"),
)
"""What is measured against which peer (medians)."""

HEAD = (
    "| from | to | N | median s | worst s | aim (median / worst) | |",
    "|---|---|---|---|---|---|---|",
)


def holds(name: str, took: list[float]) -> bool:
    """Whether the median and the worst are what they should be; so where nothing is aimed at."""
    aim = ROWS[name].aim
    return aim is None or (statistics.median(took) <= aim[0] and max(took) <= aim[1])


def line(name: str, took: list[float]) -> str:
    """A row of the table."""
    row = ROWS[name]
    aim = "" if row.aim is None else f"{row.aim[0]:g} / {row.aim[1]:g}"
    mark = "" if row.aim is None else "holds" if holds(name, took) else "**missed**"
    figures = f"{len(took)} | {statistics.median(took):.2f} | {max(took):.2f}"
    return f"| {row.began} | {row.ended} | {figures} | {aim} | {mark} |"


def commit() -> str:
    """The commit that is measured; "+": the folder has changes of its own."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    changed = "+" if git("status", "--porcelain", "--untracked-files=no") else ""
    return f"{git('rev-parse', '--short=10', 'HEAD') or 'unknown'}{changed}"
