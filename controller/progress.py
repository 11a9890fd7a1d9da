"""How far a service is: the `rollout.<service>` record, derived from what the round leaves behind.

Nothing in it ticks: the same situation gives the same record, so that a settled mesh writes nothing.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from controller.census import Task
from controller.histories import bounded
from controller.reasons import grouped
from controller.rolling import complete as complete_update
from controller.rolling import finished, has_reached, is_alone
from controller.work import PAUSED, Work, slot_key
from controller.world import Stored
from schemas.records import RolloutRecord, ServiceRecord

WAITING_TOLD = 1000
"""Slots without a task that a record names: of more nobody reads each."""

Phase: TypeAlias = Literal["converging", "done", "failed"]


def rollout_of(work: Work, now: float) -> RolloutRecord:
    """The record as it should stand."""
    up = sum(1 for slot in work.wanted if any(_is_new_and_up(work, task) for task in work.candidates(slot)))
    complete = sum(1 for slot in work.wanted if _is_complete(work, slot))
    updated = sum(1 for slot in work.wanted if _is_new(work, slot) and not _has_old(work, slot)) + complete
    given_up = sum(1 for slot in work.wanted if _stands(work, slot) and work.history(slot).given_up == work.spec_hash)
    phase = _phase(work, up + complete, given_up)
    prior = work.prior
    same_deploy = prior is not None and prior.deploy == work.aim.deploy
    return RolloutRecord(
        service=work.name,
        intent=work.stored.sequence,
        deploy=work.aim.deploy,
        revision=work.aim.revision,
        replicas=work.aim.replicas,
        phase=phase,
        wanted=len(work.wanted),
        running=up,
        updated=updated,
        complete=complete,
        since=prior.since if prior is not None and same_deploy and prior.phase == phase else now,
        started=prior.started if prior is not None and same_deploy else now,
        reasons=grouped([*work.waits.values(), *work.held, *work.notes]),
        slots=bounded({slot: work.histories[slot] for slot in sorted(work.histories, key=slot_key)}),
        failures=work.failures,
        why=_why(work, phase, given_up),
        good=work.good,
        update=work.update,
        waiting=_waiting(work, now),
    )


def _waiting(work: Work, now: float) -> dict[str, float]:
    """Slots that have no task, and since when."""
    before = work.prior.waiting if work.prior is not None else {}
    empty = [slot for slot in work.wanted if work.current(slot) is None and not _is_complete(work, slot)]
    return {slot: before.get(slot, now) for slot in empty[:WAITING_TOLD]}


def progress_of(work: Work, now: float) -> RolloutRecord | None:
    """The record of a service as it should stand; None: it was removed, and nothing of it is left."""
    if work.record.removed and not any(work.slots.values()):
        return None
    if work.spec is None and not work.record.removed:
        return undecided(work.stored, work.prior, missing_revision(work), now)
    return rollout_of(work, now)


def missing_revision(work: Work) -> str:
    """Why nothing is decided about a service without its revision."""
    return f"revision {work.aim.revision} of {work.name} is not in the store"


def undecided(stored: Stored[ServiceRecord], prior: RolloutRecord | None, why: str, now: float) -> RolloutRecord:
    """The record of a service about which nothing can be decided: as it was, with the reason."""
    reasons = grouped([why])
    if prior is not None:
        phase: Phase = "converging"
        since = prior.since if prior.phase == phase else now
        return msgspec.structs.replace(
            prior, intent=stored.sequence, reasons=reasons, phase=phase, since=since, why=why
        )
    name = stored.record.name
    return RolloutRecord(service=name, intent=stored.sequence, since=now, started=now, reasons=reasons, why=why)


def _is_new(work: Work, slot: str) -> bool:
    task = work.current(slot)
    return task is not None and task.spec == work.spec_hash


def _is_new_and_up(work: Work, task: Task) -> bool:
    return task.life == "up" and task.spec == work.spec_hash


def _stands(work: Work, slot: str) -> bool:
    """Whether the slot has no task, so that its history speaks for it."""
    return work.current(slot) is None and bool(work.spec_hash)


def _is_complete(work: Work, slot: str) -> bool:
    return _stands(work, slot) and work.did(slot)


def _has_old(work: Work, slot: str) -> bool:
    return any(task.live and task.spec != work.spec_hash for task in work.tasks(slot))


def _phase(work: Work, settled: int, given_up: int) -> Phase:
    """What it comes to; an update whose last slot has been watched is completed here. Rolled back is never done."""
    wanted = len(work.wanted)
    surplus = any(task.live for slot, tasks in work.slots.items() if slot not in work.wanted for task in tasks)
    beside = any(_has_old(work, slot) or not is_alone(work, slot) for slot in work.wanted)
    if work.record.removed:
        return "converging"
    open_ = surplus or beside or settled + given_up < wanted or bool(work.held)
    if not open_ and not given_up and finished(work) and not work.record.paused:
        complete_update(work)
    state = work.update.state
    if state in ("paused", "rollback_paused", "rollback_completed") or (work.update.late and state == "updating"):
        return "failed"
    leaving = any(task.leaving for slot in work.wanted for task in work.candidates(slot))
    if open_ or leaving or state == "rollback_started" or (state == "updating" and not finished(work) and not given_up):
        return "converging"
    return "failed" if given_up else "done"


def _why(work: Work, phase: Phase, given_up: int) -> str:
    update = work.update
    if work.record.removed:
        return "being removed"
    back = f"revision {update.left} to revision {work.aim.revision}: {update.why}"
    match update.state:
        case "rollback_started":
            return f"rolling back from {back}"
        case "rollback_completed":
            return f"rolled back from {back}"
        case "paused" | "rollback_paused":
            return f"paused: {update.why}"
        case _ if update.late and phase == "failed":
            return update.why
    if update.stands:
        new = sum(has_reached(work, slot) for slot in work.wanted)
        return f"canary: {new} of {len(work.wanted)} slots have revision {work.aim.revision}: promote or abort it"
    if phase == "failed":
        return f"{given_up} of {len(work.wanted)} slots gave up"
    return PAUSED if work.record.paused else ""
