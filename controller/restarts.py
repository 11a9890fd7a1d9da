"""What follows the end of a task: another one after a growing pause, nothing because the work is done, or giving up.

It stands in the slot's history, a record, so that pauses and budgets survive a change of leader.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec

from controller.census import Task
from schemas.observation import EndedTask, TaskState
from schemas.records import SlotHistory
from schemas.spec import RestartPolicy

ENDED_KEPT = 5
"""Ended tasks kept per slot (DESIGN)."""

FAILURE_WINDOW = 300.0
FAILURES_TO_AVOID = 5
"""A node where a service failed so often within so many seconds is tried last (DESIGN)."""

JITTER = 0.1
"""The share by which a pause may be longer, so that tasks that ended together do not start together."""

NO_HISTORY = SlotHistory()


def remember(history: SlotHistory, task: Task, now: float) -> SlotHistory:
    """The history with the end of `task` in front; unchanged if it is there already."""
    if any(entry.id == task.id for entry in history.ended):
        return history
    return msgspec.structs.replace(history, ended=(_entry(task, now), *history.ended)[:ENDED_KEPT])


def _entry(task: Task, now: float) -> EndedTask:
    assigned, seen = task.assigned, task.seen
    why = assigned.why if assigned is not None and assigned.desired == "shutdown" else ""
    revision = assigned.revision if assigned is not None else seen.revision if seen is not None else 0
    if seen is None or not seen.ended:
        told_to_end = assigned is not None and assigned.desired == "shutdown"
        state: TaskState = "exited" if told_to_end else "failed"
        error = "" if told_to_end else f"node {task.node} is gone"
        return EndedTask(
            id=task.id, node=task.node, revision=revision, state=state, at=now, error=error, why=why, spec=task.spec
        )
    return EndedTask(
        id=task.id,
        node=task.node,
        revision=revision,
        state=seen.state,
        at=now,
        exit_code=seen.exit_code,
        oom_killed=seen.oom_killed,
        error=seen.error,
        log_tail=seen.log_tail,
        image=seen.image,
        why=why,
        spec=task.spec,
    )


def after_end(history: SlotHistory, task: Task, policy: RestartPolicy, now: float) -> SlotHistory:
    """The history once a task that should have run on was seen ended."""
    failed = task.seen is not None and task.seen.state == "failed"
    if failed:
        failures = tuple(at for at in history.failed_at if at > now - FAILURE_WINDOW)
        history = msgspec.structs.replace(history, failed_at=(*failures, now)[-FAILURES_TO_AVOID:])
    if policy.condition == "none" or (policy.condition == "on-failure" and not failed):
        if failed:
            return msgspec.structs.replace(history, given_up=task.spec)
        return msgspec.structs.replace(history, complete=task.spec)
    attempts = _attempts(history, policy, now)
    if policy.max_attempts and len(attempts) >= policy.max_attempts:
        return msgspec.structs.replace(history, given_up=task.spec, restarted_at=attempts)
    history = count_restart(history, task, policy, now)
    pause = min(policy.delay * 2.0 ** min(history.restarts - 1, 60), policy.max_delay)
    return msgspec.structs.replace(history, next_at=now + pause * (1 + JITTER * _share(task.id)))


def count_restart(history: SlotHistory, task: Task, policy: RestartPolicy, now: float) -> SlotHistory:
    """One more restart, by the leader or (a successor) by the node itself."""
    ran = task.seen.ran if task.seen is not None else 0.0
    restarts = 1 if ran >= policy.reset_after else history.restarts + 1
    attempts = (*_attempts(history, policy, now), now) if policy.max_attempts else ()
    return msgspec.structs.replace(history, restarts=restarts, restarted_at=attempts)


def _attempts(history: SlotHistory, policy: RestartPolicy, now: float) -> tuple[float, ...]:
    return tuple(at for at in history.restarted_at if not policy.window or at > now - policy.window)


def _share(task: str) -> float:
    """A fixed number in [0, 1) for each task id."""
    return int.from_bytes(hashlib.sha256(task.encode()).digest()[:4], "big") / 2**32


def fresh_start(history: SlotHistory) -> SlotHistory:
    """The history as a new deploy finds it: what happened is kept, what it led to is forgiven."""
    return msgspec.structs.replace(history, restarts=0, failed_at=(), next_at=0.0, restarted_at=(), given_up="")


def with_failure(failures: Mapping[str, tuple[float, ...]], node: str, now: float) -> dict[str, tuple[float, ...]]:
    """Failures by node with one more; those of more than 5 minutes ago are forgotten."""
    lately = {name: tuple(at for at in times if at > now - FAILURE_WINDOW) for name, times in failures.items()}
    lately[node] = (*lately.get(node, ()), now)[-FAILURES_TO_AVOID:]
    return {name: times for name, times in sorted(lately.items()) if times}


def failing_nodes(failures: Mapping[str, tuple[float, ...]], now: float) -> frozenset[str]:
    """Nodes where the service failed too often lately."""
    return frozenset(
        node for node, times in failures.items() if sum(at > now - FAILURE_WINDOW for at in times) >= FAILURES_TO_AVOID
    )
