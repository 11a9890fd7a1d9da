"""A changed service: its slots are replaced by turns, as its update policy says.

Stop-first: a task is ended only if its slot's next one would find a place then: a deploy that fits nowhere takes
nothing down. Start-first: the new task is placed beside the old one, which ends when the new one is up. A slot that
waits for room or for a node that is away does not hold the others up. With stop-first a turn has begun only once the
old task was told to end: what was noted and not carried out (a leader ended between two writes) is decided anew.
A slot that did its work at the wanted revision gets no task: with either order its old one only ends, in its turn.
"""

from __future__ import annotations

from collections.abc import Iterable

from controller.availability import spare, taken_down
from controller.census import Task
from controller.ledger import Ledger
from controller.placement import Group, Holder
from controller.preparing import lacking, prepare_ahead
from controller.rolling import (
    HALTED,
    canary,
    give_up_turn,
    is_up,
    limit,
    moves,
    new_task,
    occupied,
    reached,
    surging,
    take_turn,
)
from controller.slots import ENDING, Round, end_task, place_task
from controller.work import PAUSED, TURN, Work, slot_key


def take_back(work: Work) -> None:
    """Stop-first: a slot whose old task is up has its turn still to come, whatever was noted.

    Either a leader ended before it could carry the turn out, or the slot was down when the turn began, and its node is
    back. Others may be down by now, so it waits like any slot that is up.
    """
    if work.policy.order != "stop-first":
        return
    for slot in work.update.turns:
        if new_task(work, slot) is None and is_up(work, slot):
            give_up_turn(work, slot)


def surge(work: Work, round_: Round, group: Group) -> None:
    """Start-first: new tasks beside the old ones, and the end of old ones whose new one is up."""
    if work.policy.order != "start-first" or work.record.removed:
        return
    for slot in work.wanted if not canary(work) else ():
        _hand_over(work, round_, slot)
    if not moves(work):
        return
    for slot in _in_order(work):
        ending = [task for task in work.tasks(slot) if task.life == "ending"]
        begun = slot in work.update.turns
        if work.over(slot) or (ending and not begun):
            continue
        if ending or len(work.candidates(slot)) > 1:
            work.waits[slot] = ENDING
            continue
        if not begun and not _may_begin(work, round_, slot, up=False):
            continue
        history = work.history(slot)
        if begun and history.next_at > round_.now:
            work.wake(history.next_at)
            work.waits[slot] = "the new task failed; waits before its next start"
            continue
        if begun and work.update.turns[slot].failed_at and occupied(work, round_.now) >= limit(work):
            work.waits[slot] = TURN
            continue
        beside = sum(surging(work, each) for each in work.wanted) if not canary(work) else 0  # its slots stay so
        if begun and work.candidates(slot) and beside >= limit(work):
            work.waits[slot] = TURN  # begun while it was down: its old task has come back
            continue
        if place_task(work, round_, group, slot):
            take_turn(work, slot, round_.now)


def update(work: Work, round_: Round, group: Group, ledger: Ledger) -> None:
    """Stop-first, and where no next one is needed: end the next tasks of an old spec, if it is their turn. Tell why
    others keep theirs."""
    slots = _in_order(work)
    if not slots:
        return
    if work.record.paused:
        work.notes.append(PAUSED)
        return
    if work.policy.order == "stop-first" and moves(work):
        prepare_ahead(work, round_, [task for slot in slots if not work.did(slot) and (task := _old(work, slot))])
    for slot in slots:
        task = _old(work, slot)
        if task is None:
            continue
        if work.update.state in HALTED:
            work.waits[slot] = f"{_kept(task)}: the update is paused"
        elif work.update.stands:
            work.waits[slot] = f"{_kept(task)}: the canary is to be promoted or aborted"
        elif task.fixed:
            work.waits[slot] = f"{_kept(task)}: node {task.node} is not heard"
        elif work.gate:
            work.waits[slot] = f"{_kept(task)}: {work.gate}"
        elif work.did(slot):
            _end_unfollowed(work, round_, task)
        elif work.policy.order == "stop-first":
            _stop_first(work, round_, (group, ledger), task)


def _end_unfollowed(work: Work, round_: Round, task: Task) -> None:
    """The slot's work is done: it needs no room and no image, and is not without a task that it should have. A canary
    has nothing to try there: the old task stays till it is promoted."""
    begun, up = task.slot in work.update.turns, task.life == "up"
    if canary(work) or not (begun or _may_begin(work, round_, task.slot, up=up)):
        work.waits[task.slot] = TURN
        return
    _end_in_turn(work, round_, task)


def _stop_first(work: Work, round_: Round, site: tuple[Group, Ledger], task: Task) -> None:
    group, ledger = site
    freed = ledger.needs(task.spec, round_.draft.spec(task.node, task.spec))
    holder, only_here = Holder(task.id, task.node, freed), work.record.mode == "global"
    refused = group.would_fit(work.volume_slot(task.slot), holder, only_here=only_here)
    if refused is not None:
        _keep(work, task, refused.why)
        return
    begun, up = task.slot in work.update.turns, task.life == "up"
    if not begun and not _may_begin(work, round_, task.slot, up=up):
        work.waits.setdefault(task.slot, TURN)
        return
    if up and (left := spare(work)) is not None and left < 1:
        _keep(work, task, f"{len(work.wanted)} slots, of which {work.policy.max_unavailable} may be unavailable")
        return
    node = group.next_node(work.volume_slot(task.slot), holder, only_here=only_here)
    if why := lacking(work, round_, task, node):
        _keep(work, task, why)
        return
    _end_in_turn(work, round_, task, node)


def _end_in_turn(work: Work, round_: Round, task: Task, node: str = "") -> None:
    if round_.caution.holds_back(work, task.slot, _kept(task)):
        work.waits.setdefault(task.slot, TURN)
        return
    take_turn(work, task.slot, round_.now, node)
    end_task(work, round_, task, f"replaced by revision {work.aim.revision}", work.record.cause)
    work.waits[task.slot] = ENDING


def _keep(work: Work, task: Task, why: str) -> None:
    work.waits[task.slot] = f"{_kept(task)}: {why}"
    give_up_turn(work, task.slot)


def _may_begin(work: Work, round_: Round, slot: str, *, up: bool) -> bool:
    """Whether one more slot may have its turn. Where a task that is up ends, slots that are down count, too."""
    if not moves(work) or (canary(work) and reached(work) >= canary(work)):
        return False
    busy = taken_down(work, slot, round_.now) if up else occupied(work, round_.now)
    return busy < limit(work)


def _hand_over(work: Work, round_: Round, slot: str) -> None:
    """The old task ends when the new one beside it is up."""
    new = new_task(work, slot)
    if new is None or new.life != "up" or not surging(work, slot):
        return
    for task in work.candidates(slot):
        if task.spec != work.spec_hash and not round_.caution.holds_back(work, slot, _kept(task)):
            end_task(work, round_, task, f"replaced by revision {work.aim.revision}", work.record.cause)


def _in_order(work: Work) -> list[str]:
    """Slots that have only tasks of an old spec, in the order of turns: those that have begun, then those that do not
    run (they have nothing to lose), then those whose node is to be left, then by number."""
    slots = [slot for slot in work.wanted if work.candidates(slot) and new_task(work, slot) is None]
    return sorted(slots, key=lambda slot: (*_urgency(work, slot), slot_key(slot)))


def _urgency(work: Work, slot: str) -> tuple[bool, bool, bool]:
    leaves = any(task.leaving for task in work.candidates(slot))
    return (slot not in work.update.turns, is_up(work, slot), not leaves)


def _old(work: Work, slot: str) -> Task | None:
    return next(iter(reversed(work.candidates(slot))), None)


def _kept(task: Task) -> str:
    return f"keeps its task of revision {task.assigned.revision if task.assigned is not None else 0}"


def outdated(work: Work) -> Iterable[str]:
    """Slots that still have a task of an old spec."""
    return _in_order(work)
