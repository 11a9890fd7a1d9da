"""Successors: what an agent starts by itself, and only while no leader answers.

An ended task whose assignment wants it running is replaced by its restart policy as `<task>.r1`, then `.r2`. The
first is told apart from nothing else: once an assignment names it, it is an ordinary task. Pure: times are monotonic
seconds of this process, given by the caller.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent.local import LocalTask, successor_id
from agent.wants import KEEP, Wanted, stands_for
from schemas.spec import RestartPolicy

SILENT_PERIODS = 3
"""Heartbeat periods without an answer ..."""

SILENT_AT_LEAST = 5.0
"""... and seconds, after which the leader counts as silent."""


@dataclass(frozen=True)
class Due:
    """A successor and the monotonic time from which on it may start."""

    base: str
    """The named task whose place it takes."""
    task: str
    """Its own id."""
    at: float


def leader_silent(answered_at: float, period: float, now: float) -> bool:
    """Whether nobody leads as far as this node can tell. `answered_at`: the last answer, or the agent's start."""
    return now - answered_at > max(SILENT_PERIODS * period, SILENT_AT_LEAST)


def due_successors(
    local: Mapping[str, LocalTask],
    wanted: Mapping[str, Wanted],
    ended_at: Mapping[str, float],
    born: Mapping[str, float],
) -> tuple[Due, ...]:
    """For every wanted task that has ended, and whose last successor has: what comes next, and when.

    What must not run twice has no successors: the leader alone knows whether its slot was filled elsewhere meanwhile.
    A slot in which runs what is only kept is filled: that may be of a later assignment.

    `ended_at`: when this process first saw each task ended; `born`: when it started each successor (unknown: always
    within the window).
    """
    running = [task for task in local.values() if task.started and not task.ended]
    kept = {(task.service, task.slot) for task in running if wanted.get(task.id) == KEEP}
    found: list[Due] = []
    for id_, want in sorted(wanted.items()):
        base = local.get(id_)
        if not want.named or want.intent != "run" or want.spec is None or base is None or not base.ended:
            continue
        if want.spec.stop_after:
            continue
        if (base.service, base.slot) in kept:
            continue
        chain = [base, *_successors(base.id, local, wanted)]
        due = next_in_chain(chain, want.spec.restart, ended_at, born)
        if due is not None:
            found.append(due)
    return tuple(found)


def _successors(base: str, local: Mapping[str, LocalTask], wanted: Mapping[str, Wanted]) -> list[LocalTask]:
    named = [id_ for id_, want in wanted.items() if want.named]
    mine = [task for task in local.values() if not wanted.get(task.id, Wanted("end")).named]
    return sorted((task for task in mine if stands_for(task.id, named) == base), key=lambda task: task.number)


def next_in_chain(
    chain: Sequence[LocalTask], policy: RestartPolicy, ended_at: Mapping[str, float], born: Mapping[str, float]
) -> Due | None:
    """What follows the last of `chain` (the named task, then its successors); None: nothing, or it still lives."""
    base, last = chain[0], chain[-1]
    if not last.ended or not _restarts(policy, last):
        return None
    ended = ended_at.get(last.id, 0.0)
    at = ended + backoff(policy, in_a_row(chain, policy))
    starts = [born.get(task.id) for task in chain[1:]]
    within = [start for start in starts if not policy.window or start is None or at - start <= policy.window]
    if policy.max_attempts and len(within) >= policy.max_attempts:
        return None
    return Due(base.id, successor_id(base.id, last.number + 1), at)


def _restarts(policy: RestartPolicy, last: LocalTask) -> bool:
    return policy.condition == "any" or (policy.condition == "on-failure" and last.state == "failed")


def in_a_row(chain: Sequence[LocalTask], policy: RestartPolicy) -> int:
    """How many restarts in a row the next one makes: a task that ran long enough starts the row anew."""
    row = 0
    for task in reversed(chain):
        row += 1
        if task.ran >= policy.reset_after:
            break
    return row


def backoff(policy: RestartPolicy, nth: int) -> float:
    """Seconds before the `nth` restart in a row."""
    return float(min(policy.max_delay, policy.delay * 2.0 ** min(nth - 1, 60)))
