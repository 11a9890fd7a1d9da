"""How far a service had come with what it got since the backup: that was noted in the store that is lost. Pure.

Once each slot has been up for longer than an update is watched, no failure is one of the update. Told to the leader as
one more deploy, it would be: and be answered by going back to what the backup wanted.
"""

from __future__ import annotations

import msgspec

from meshctl.evidence import Known, Running
from schemas.records import RolloutRecord, ServiceRecord, SlotHistory, UpdateProgress
from schemas.spec import ServiceSpec
from schemas.task_ids import lineage


def completed(
    record: ServiceRecord, spec: ServiceSpec | None, running: Running, known: Known, now: float
) -> RolloutRecord | None:
    """The progress of a service whose target the agents have shown: that it has come up; None: it is to be watched
    still, or nobody can tell. `spec`: of that target."""
    if record.paused or spec is None or not running.complete or not _all_have_it(record, running):
        return None
    watch = _watch(record, spec, known)
    if any(running.up.get(lineage(task.id), 0.0) <= watch for task in running.tasks):
        return None
    before = known.rollouts.get(record.name)
    return RolloutRecord(
        service=record.name,
        deploy=record.deploy,
        revision=record.target,
        replicas=record.replicas,
        since=max(0.0, now),
        started=max(0.0, now),
        good=record.target,
        slots={slot: _forgiven(history) for slot, history in before.slots.items()} if before is not None else {},
        update=UpdateProgress(state="completed"),
    )


def _all_have_it(record: ServiceRecord, running: Running) -> bool:
    """Whether no slot lacks a task of the target, or has another beside it."""
    slots = {task.slot for task in running.tasks}
    every = len(slots) >= record.replicas if record.mode == "replicated" else running.known <= slots
    return every and all(task.spec == running.newest.spec for task in running.tasks)


def _watch(record: ServiceRecord, spec: ServiceSpec, known: Known) -> float:
    """Seconds for which a leader would watch each slot (`controller.rolling`)."""
    policy = spec.update
    if record.back_from:
        left = known.revisions.get((record.name, record.back_from))
        policy = left.spec.rollback if left is not None else spec.rollback
    return max(policy.delay, policy.monitor)


def _forgiven(history: SlotHistory) -> SlotHistory:
    """As a new deploy finds it: what happened is kept, what it led to is not."""
    return msgspec.structs.replace(history, restarts=0, failed_at=(), next_at=0.0, restarted_at=(), given_up="")
