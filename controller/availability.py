"""How many slots of a service may be without a task that is up: what its policy promises to those who use it.

`max_unavailable` counts every slot that is not up, for whatever reason it is not. Where it is not told, `parallelism`
alone bounds what an update takes down, and moving a task off a node takes nothing down.
"""

from __future__ import annotations

from controller.rolling import is_up, occupied
from controller.work import Work

DIGITS = 6
"""A number of slots has no more."""


def bearable(text: str, slots: int, *, least: int = 0) -> int | None:
    """So many of `slots` as "2" or "25%" says; a share is rounded down, to `least` at the least. None: not told."""
    number, share, rest = text.partition("%")
    if rest or not number.isdecimal() or len(number) > DIGITS:
        return None
    return max(least, slots * int(number) // 100) if share else int(number)


def spare(work: Work) -> int | None:
    """How many more slots that are up may lose their task now; None: the policy does not say."""
    least = 1 if work.policy.order == "stop-first" else 0
    borne = bearable(work.policy.max_unavailable, len(work.wanted), least=least)
    if borne is None:
        return None
    return borne - sum(not is_up(work, slot) and not work.over(slot) for slot in work.wanted)


def taken_down(work: Work, slot: str, now: float) -> int:
    """How many slots beside this one take their turn, or are down though nothing keeps them from a place."""
    away = work.elsewhere.union(work.unplaced, work.update.turns, {slot})
    down = sum(not is_up(work, other) and not work.over(other) for other in work.wanted if other not in away)
    return occupied(work, now) + down
