"""A changed service: its tasks are replaced one slot at a time, stop-first, the next when the new one is up.

A task is ended only if its slot's next one would find a place then: a deploy that fits nowhere takes nothing down.
A slot that waits for room or for a node that is away does not hold the others up.
"""

from __future__ import annotations

from controller.census import Task
from controller.ledger import Ledger
from controller.placement import Group, Holder
from controller.slots import ENDING, Round, end_task
from controller.work import PAUSED, Work, slot_key

AT_ONCE = 1
"""Slots that are replaced at the same time."""


def update(work: Work, round_: Round, group: Group, ledger: Ledger) -> None:
    """End the next task of an old spec, if it is its turn."""
    outdated = [task for slot in work.wanted if (task := work.current(slot)) and task.spec != work.spec_hash]
    if not outdated:
        return
    if work.record.paused:
        work.notes.append(PAUSED)
        return
    waiting = work.elsewhere.union(work.unplaced)
    turns = AT_ONCE - sum(_in_motion(work, slot) for slot in work.wanted if slot not in waiting)
    for task in sorted(outdated, key=_turn):
        if task.fixed:
            work.waits[task.slot] = f"keeps its task of revision {_revision(task)}: node {task.node} is not heard"
            continue
        freed = ledger.needs(task.spec, round_.draft.spec(task.node, task.spec))
        holder, only_here = Holder(task.id, task.node, freed), work.record.mode == "global"
        refused = group.would_fit(work.volume_slot(task.slot), holder, only_here=only_here)
        if refused is not None:
            work.waits[task.slot] = f"keeps its task of revision {_revision(task)}: {refused.why}"
            continue
        if turns <= 0:
            continue
        why = f"replaced by revision {work.aim.revision}"
        end_task(work, round_, task, why, work.record.cause)
        work.waits[task.slot] = ENDING
        turns -= 1


def _turn(task: Task) -> tuple[bool, tuple[int, int, str]]:
    """Tasks that do not run have nothing to lose: they go first."""
    return (task.life == "up", slot_key(task.slot))


def _revision(task: Task) -> int:
    return task.assigned.revision if task.assigned is not None else 0


def _in_motion(work: Work, slot: str) -> bool:
    """Whether the slot's new task is still to come up."""
    task = work.current(slot)
    if task is None:
        return not _done(work, slot)
    return task.spec == work.spec_hash and task.life != "up"


def _done(work: Work, slot: str) -> bool:
    return work.history(slot).complete == work.spec_hash
