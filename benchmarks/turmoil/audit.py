"""What may not be found after the turmoil. Pure: what was counted goes in, findings come out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

WARM_UP = 180.0
"""Seconds in which a Python program loads what it needs, and its heap finds its size: not judged. Agents that had
only to replace tasks had come to within 2 MiB of where they stayed after so long; what Python tracks did not rise."""

MEMORY_LIMITS = ((20.0, 0.5), (6.0, 2.0))
"""(Minutes of warm programs that were watched, MiB a minute by which their memory may rise, over all of a kind). From
9 to 10 minutes, in lives of 4 to 7, the same faults gave agents +0.09, +0.84 and +0.43: only a fast leak shows."""


@dataclass(frozen=True)
class Life:
    """From when to when something lived, in seconds on one clock."""

    name: str
    began: float
    ended: float


def doubled(lives: Iterable[Life]) -> list[str]:
    """Who lived at the same time, in words."""
    found: list[str] = []
    last: Life | None = None
    for life in sorted(lives, key=lambda each: (each.began, each.name)):
        if last is not None and life.began < last.ended:
            overlap = min(last.ended, life.ended) - life.began
            found.append(f"{last.name} and {life.name} both ran for {overlap:.1f} s")
        if last is None or life.ended > last.ended:
            last = life
    return found


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
    lives: dict[str, list[tuple[float, float]]] = {}
    for sample in samples:
        if sample.role == role and sample.age >= warm_up:
            lives.setdefault(sample.program, []).append((sample.at / 60, sample.memory))
    spread = product = minutes = 0.0
    for points in (each for each in lives.values() if len(each) > 1):
        middle = sum(at for at, _ in points) / len(points)
        level = sum(memory for _, memory in points) / len(points)
        spread += sum((at - middle) ** 2 for at, _ in points)
        product += sum((at - middle) * (memory - level) for at, memory in points)
        minutes += points[-1][0] - points[0][0]
    return Slope(product / spread if spread else 0.0, minutes)


@dataclass(frozen=True)
class Finding:
    """A line of the table: what was looked for, what was found, what may be, and what is known of it."""

    what: str
    found: str
    limit: str
    holds: bool
    details: tuple[str, ...] = ()


def none_of(what: str, found: Collection[str]) -> Finding:
    """There must be none."""
    return Finding(what, str(len(found)), "0", not found, tuple(found))


def at_most(what: str, counts: dict[str, int], limits: dict[str, int]) -> Finding:
    """Each count of something, by who has it, must not be above its limit."""
    over = [f"{name} has {count}, at most {limits[name]}" for name, count in counts.items() if count > limits[name]]
    most = max(counts.values(), default=0)
    return Finding(what, f"most {most}", f"most {max(limits.values(), default=0)}", not over, tuple(over))


def flat(role: str, samples: Sequence[Sample]) -> Finding:
    """The memory of a role's programs must not rise."""
    found = slope(samples, role)
    limit = f"not judged below {MEMORY_LIMITS[-1][0]:g} min" if found.limit is None else f"{found.limit:g} MiB/min"
    text = f"{found.rise:+.2f} MiB/min over {found.minutes:.0f} min"
    most = max((sample.memory for sample in samples if sample.role == role), default=0.0)
    holds = found.limit is None or found.rise <= found.limit
    return Finding(f"memory of {role}s (most {most:.0f} MiB)", text, limit, holds)


def table(findings: Iterable[Finding]) -> list[str]:
    """The lines to print, details below what does not hold."""
    lines = []
    for each in findings:
        mark = "ok" if each.holds else "NOT SO"
        lines.append(f"{each.what:<44} {each.found:>26}   {each.limit:<26} {mark}")
        if not each.holds:
            lines += [f"    {detail}" for detail in each.details[:20]]
    return lines
