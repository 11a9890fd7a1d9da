"""What programs may have more of as they live: memory, threads, descriptors. Pure: samples in, findings out.

Every life of every program is looked at, those that a fault has ended included.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from benchmarks.turmoil.audit import Finding

WARM_UP = 180.0
"""Seconds in which a Python program loads what it needs, and its heap finds its size: not judged. Agents that had
only to replace tasks had come to within 2 MiB of where they stayed after so long; what Python tracks did not rise."""

MEMORY_LIMITS = ((20.0, 0.5), (6.0, 2.0))
"""(Minutes of warm programs that were watched, MiB a minute by which their memory may rise, over all of a kind). From
9 to 10 minutes, in lives of 4 to 7, the same faults gave agents +0.09, +0.84 and +0.43: only a fast leak shows."""


WINDOW = 60.0
"""Seconds at the beginning and at the end of a warm life whose middle values are compared."""

ENGINE_POOLS = 8 + 3 + 3
"""`agent.engine.docker_line`: THREADS, PULLS, TRANSFERS, started as they are needed, each with its own connection."""

LOOP_POOL = min(32, (os.cpu_count() or 1) + 4)
"""The threads that an event loop starts as it needs them (concurrent.futures.ThreadPoolExecutor)."""

MOST_THREADS = {"agent": 1 + ENGINE_POOLS + 1 + 1 + 1 + LOOP_POOL, "controller": 1 + LOOP_POOL}
"""The main one, its pools and, in an agent, one each for the engine's events, for files and for nftables: a program
that has more has lost one."""

RISES = {"threads": 4, "descriptors": 8}
"""By how many a warm life may have more at its end. Measured: 14 lives of 5 to 12 minutes had at most +1 thread (of an
agent's pools: 13 of 21) and +0 descriptors. What passes, a connection beside an old one, does not last a minute."""


@dataclass(frozen=True)
class Sample:
    """How one program was found. `program` names one life of it: another one after a restart."""

    role: str
    program: str
    at: float
    age: float
    memory: float
    """MiB that are its own."""
    threads: int
    descriptors: int


@dataclass(frozen=True)
class Slope:
    """How fast the memory of a role's programs rises, in MiB a minute, from so many minutes of warm programs."""

    rise: float
    minutes: float

    @property
    def limit(self) -> float | None:
        """What it may be; None: that is too short to say anything."""
        return next((limit for least, limit in MEMORY_LIMITS if self.minutes >= least), None)


def slope(samples: Iterable[Sample], role: str, warm_up: float = WARM_UP) -> Slope:
    """Least squares over all warm lives at once, each with a level of its own."""
    lives = [
        [(each.at / 60, each.memory) for each in life if each.age >= warm_up] for life in _lives(samples, role).values()
    ]
    spread = product = minutes = 0.0
    for points in (each for each in lives if len(each) > 1):
        middle = sum(at for at, _ in points) / len(points)
        level = sum(memory for _, memory in points) / len(points)
        spread += sum((at - middle) ** 2 for at, _ in points)
        product += sum((at - middle) * (memory - level) for at, memory in points)
        minutes += points[-1][0] - points[0][0]
    return Slope(product / spread if spread else 0.0, minutes)


def threads(role: str, samples: Sequence[Sample]) -> Finding:
    """No life of the role's programs may have more than its pools hold, at any time."""
    limit = MOST_THREADS[role]
    most = {program: max(each.threads for each in life) for program, life in _lives(samples, role).items()}
    over = [f"{program} has had {count}" for program, count in most.items() if count > limit]
    found = f"most {max(most.values(), default=0)} in {len(most)} lives"
    return Finding(f"threads of {role}s", found, f"most {limit}", not over, tuple(over), judged=bool(most))


def rise(role: str, what: Literal["threads", "descriptors"], samples: Sequence[Sample]) -> Finding:
    """No life may have more at its end than when it was warm: of each life that is long enough, the middle values."""
    limit = RISES[what]
    rises: dict[str, float] = {}
    for program, life in _lives(samples, role).items():
        warm = [each for each in life if each.age >= WARM_UP]
        if warm and warm[-1].age - warm[0].age >= 2 * WINDOW:
            first = median(getattr(each, what) for each in warm if each.age < warm[0].age + WINDOW)
            last = median(getattr(each, what) for each in warm if each.age > warm[-1].age - WINDOW)
            rises[program] = last - first
    over = [f"{program}: {more:+g} since its third minute" for program, more in rises.items() if more > limit]
    found = f"most {max(rises.values()):+g} in {len(rises)} lives" if rises else "no life of 5 minutes"
    return Finding(f"rise of {what} of {role}s", found, f"most {limit:+d}", not over, tuple(over), judged=bool(rises))


def _lives(samples: Iterable[Sample], role: str) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.role == role:
            found.setdefault(sample.program, []).append(sample)
    return found


def flat(role: str, samples: Sequence[Sample]) -> Finding:
    """The memory of a role's programs must not rise."""
    found = slope(samples, role)
    limit = f"from {MEMORY_LIMITS[-1][0]:g} min on" if found.limit is None else f"{found.limit:g} MiB/min"
    text = f"{found.rise:+.2f} MiB/min over {found.minutes:.0f} min"
    most = max((sample.memory for sample in samples if sample.role == role), default=0.0)
    holds = found.limit is None or found.rise <= found.limit
    judged = found.limit is not None
    return Finding(f"memory of {role}s (most {most:.0f} MiB)", text, limit, holds, judged=judged)
