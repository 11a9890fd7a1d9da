"""What may not be found after the turmoil. Pure: what was counted goes in, findings come out."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

ALL_KINDS_IN = 30.0
"""Minutes in which every kind of fault comes at least once."""


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
class Finding:
    """A line of the table: what was looked for, what was found, what may be, and what is known of it."""

    what: str
    found: str
    limit: str
    holds: bool
    details: tuple[str, ...] = ()
    judged: bool = True
    """Whether enough was seen to say anything."""


def none_of(what: str, found: Collection[str]) -> Finding:
    """There must be none."""
    return Finding(what, str(len(found)), "0", not found, tuple(found))


def all_came(missing: Collection[str], minutes: float) -> Finding:
    """Each kind of fault must have come in a run that is long enough for all of them."""
    long_enough = minutes >= ALL_KINDS_IN
    found = f"{len(missing)}: {', '.join(missing)}" if missing else "0"
    limit = "0" if long_enough else f"0 from {ALL_KINDS_IN:g} min on"
    return Finding("kinds of faults that did not come", found, limit, not (missing and long_enough), judged=long_enough)


def table(findings: Iterable[Finding]) -> list[str]:
    """The lines to print, details below what does not hold."""
    lines = []
    for each in findings:
        mark = "NOT SO" if not each.holds else "ok" if each.judged else "not judged"
        lines.append(f"{each.what:<44} {each.found:>26}   {each.limit:<26} {mark}")
        if not each.holds:
            lines += [f"    {detail}" for detail in each.details[:20]]
    return lines


def verdict(findings: Collection[Finding]) -> str:
    """All of it in one line."""
    if not all(each.holds for each in findings):
        return "NOT ALL OF IT HOLDS"
    open_ = [each.what for each in findings if not each.judged]
    return f"all that was judged holds; not judged: {', '.join(open_)}" if open_ else "all of it holds"
