"""First step of a round for a service: successors take their slots, ended tasks become history.

Afterwards no task of the service is both ended and named, but for those on nodes that may not be touched now.
"""

from __future__ import annotations

from dataclasses import replace

from controller.census import Life, Task
from controller.draft import Draft
from controller.restarts import after_end, count_restart, remember, with_failure
from controller.rolling import note_failure
from controller.work import Work, with_history
from schemas.spec import RestartPolicy
from schemas.task_ids import age, lineage

_NO_POLICY = RestartPolicy()


def settle(work: Work, draft: Draft, now: float) -> None:
    """Adopt successors, then drop and remember what has ended."""
    for slot in sorted(work.slots):
        for task in list(work.tasks(slot)):
            if _may_be_followed(task):
                _adopt(work, draft, task, now)
        for task in list(work.tasks(slot)):
            if task.life == "ended":
                _bury(work, draft, task, now)


def _may_be_followed(task: Task) -> bool:
    return (
        task.life == "ended"
        and not task.fixed
        and task.seen is not None
        and task.assigned is not None
        and task.assigned.desired == "running"
    )


def _adopt(work: Work, draft: Draft, task: Task, now: float) -> None:
    """Name the last successor that the node started by itself as the slot's task: there are never two."""
    line = [
        other
        for other in work.tasks(task.slot)
        if other.assigned is None
        and other.node == task.node
        and lineage(other.id) == lineage(task.id)
        and age(other.id) > age(task.id)
    ]
    if not line:
        return
    policy = _policy(draft, task)
    history = work.history(task.slot)
    for former in (task, *line[:-1]):
        if former.life == "ended":
            known, history = history, count_restart(remember(history, former, now), former, policy, now)
            if history.ended != known.ended:
                note_failure(work, former, history.ended[0], now)
            work.replace(former, None)
    with_history(work, task.slot, history)
    last = line[-1]
    assert last.seen is not None, "a successor is known by being seen"
    named = draft.adopt(task, last.id, f"its node restarted {task.id} by itself")
    life: Life = "ended" if last.life == "ended" else "up" if last.seen.up else "pending"
    work.replace(last, replace(last, assigned=named, life=life))


def _bury(work: Work, draft: Draft, task: Task, now: float) -> None:
    """Drop an ended task. Where it should have run on, its restart policy says what follows."""
    if task.assigned is None:
        work.replace(task, None)
        return
    if task.fixed:
        return
    history = remember(work.history(task.slot), task, now)
    known = history == work.history(task.slot)
    mishap = task.assigned.desired == "running" and task.seen is not None and task.seen.ended
    policy = _policy(draft, task)
    failed = task.seen is not None and task.seen.state == "failed"
    if mishap and not known and (failed or policy.condition == "any"):
        note_failure(work, task, history.ended[0], now)
    if mishap and not known and _is_followed(work, task):
        history = after_end(history, task, policy, now)
        if failed:
            work.failures = with_failure(work.failures, task.node, now)
    with_history(work, task.slot, history)
    draft.drop(task)
    work.replace(task, None)


def _is_followed(work: Work, task: Task) -> bool:
    """Whether its slot may get another task of the same spec, and has none."""
    specs = (work.spec_hash, work.past.hash if work.past is not None else "")
    others = [other for other in work.candidates(task.slot) if task.leaving or not other.leaving]
    return task.spec in specs and all(other.spec != task.spec for other in others)


def _policy(draft: Draft, task: Task) -> RestartPolicy:
    spec = draft.spec(task.node, task.spec)
    return spec.restart if spec is not None else _NO_POLICY
