"""When an update has failed, and what follows: a pause, a roll-back to the last good revision, or only words.

Failures are counted by `controller.rolling`, once per slot; the progress deadline counts for tasks that find no place
or no image, too. A roll-back is an aim of the rollout record: it holds until the next deploy, whatever is scaled.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec

from controller.restarts import fresh_start
from controller.rolling import ACTIVE, canary, finished, open_turns, set_policy, settled
from controller.work import TURN, Work
from controller.world import World
from schemas.records import UpdateProgress


def judge(work: Work, world: World, now: float) -> None:
    """Whether the update has failed, and what then: more failures than are borne, or no progress for too long."""
    update, policy = work.update, work.policy
    if update.state not in ACTIVE or work.record.paused or work.spec is None:
        return
    share = update.failed / max(1, min(update.total, canary(work) or update.total))
    if update.failed and share > policy.max_failure_ratio and policy.failure_action != "continue":
        _fail(work, world, now, _failures_text(update))
        return
    deadline = work.spec.progress_deadline
    if (
        not deadline
        or work.gate
        or update.late
        or update.stands
        or (finished(work) and update.best >= len(work.wanted))
        or _waits_for_time(work)
    ):
        return
    if now < update.moved_at + deadline:
        work.wake(update.moved_at + deadline)
        return
    work.update = msgspec.structs.replace(update, late=True)
    _fail(work, world, now, f"no progress for {deadline:g} s{_obstacle(work)}")


def _obstacle(work: Work) -> str:
    """What the last round said that slots wait for."""
    texts = [reason.text for reason in work.prior.reasons if reason.text != TURN] if work.prior is not None else []
    return f": {texts[0]}" if texts else ""


def _waits_for_time(work: Work) -> bool:
    """Whether somebody is up and watched, or in the delay after it: that is progress, too."""
    return any(turn.up_at and settled(work, slot) for slot, turn in work.update.turns.items())


def _failures_text(update: UpdateProgress) -> str:
    text = f"{update.failed} of {max(1, update.total)} replaced tasks failed"
    if update.culprit is None:
        return text
    why = update.culprit.error or (
        f"exit code {update.culprit.exit_code}" if update.culprit.exit_code is not None else ""
    )
    return f"{text}: slot {update.culprit_slot} on {update.culprit.node}: {why or 'it ended'}"


def _fail(work: Work, world: World, now: float, why: str) -> None:
    """What the policy says: pause, roll back, or (with a deadline that has passed) only tell."""
    action = work.policy.failure_action
    if work.update.state == "rollback_started":
        if action != "continue":
            both = f"{work.update.why}; the roll-back has failed, too: {why}"
            work.update = msgspec.structs.replace(work.update, state="rollback_paused", why=both)
        return
    work.update = msgspec.structs.replace(work.update, why=why)
    if action == "rollback" and work.past is not None:
        _roll_back(work, world, now)
    elif action != "continue":
        work.update = msgspec.structs.replace(work.update, state="paused")


def _roll_back(work: Work, world: World, now: float) -> None:
    """Aim at the last good revision; whatever happened in the slots is forgiven."""
    past = work.past
    assert past is not None, "checked by the caller"
    left, update = work.aim.revision, work.update
    work.aim = replace(work.aim, revision=past.revision)
    work.spec, work.spec_hash = past.spec, past.hash
    work.histories = {slot: fresh_start(history) for slot, history in work.histories.items()}
    work.failures = {}
    work.update = UpdateProgress(
        state="rollback_started", why=update.why, left=left, culprit=update.culprit, culprit_slot=update.culprit_slot
    )
    set_policy(work, world)
    open_turns(work, now, work.update)
    work.reaimed = True
