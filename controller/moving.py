"""Tasks leave a node that is drained: each gets its replacement elsewhere first, and ends when that is up.

Where nothing would be lost it ends at once: it is not up, its node was removed, or the operator said so (`force`); so
does what must not run twice. What finds no place elsewhere (no room, a volume that is on this node), or whose next task
would wait for a dependency, stays and says so; only an explicit `max_unavailable` lets the former go all the same, as
far as that reaches. While the leader is behind with what nodes tell, only what ends first does (`controller.caution`).
All of it follows from what stands: interrupted at any point by an activated node or a new leader, it goes on or back
from there.
"""

from __future__ import annotations

from collections.abc import Callable

from controller.availability import spare, taken_down
from controller.census import Task
from controller.placement import Group
from controller.preparing import lacking
from controller.rolling import is_alone, is_up, limit, moves
from controller.slots import ENDING, Round, end_task, place_task
from controller.work import TURN, Past, Work

Grouped = Callable[[Past | None], Group]
"""The identical tasks of the wanted spec, or of a past one, as a group to place."""


def leave_nodes(work: Work, round_: Round) -> None:
    """End tasks on nodes that are drained or removed, as far as nothing is lost by it."""
    for slot in work.wanted:
        for task in [task for task in work.candidates(slot) if task.leaving]:
            others = [other for other in work.candidates(slot) if other is not task and other.life == "up"]
            replaced = next((other for other in others if not other.leaving), None)
            ends_first = _ends_first(work, round_, task)
            idle = task.life != "up" and not task.target
            if not (ends_first or replaced or idle) or (not ends_first and _holds_back(work, round_, task)):
                continue
            _leave(work, round_, task, f"; {replaced.id} on {replaced.node} is up in its place" if replaced else "")


def move(work: Work, round_: Round, grouped: Grouped) -> None:
    """Place replacements for tasks that are to leave their node; say why others stay."""
    leaving = [slot for slot in work.wanted if _to_replace(work, slot)]
    groups: dict[str, Group] = {}
    for slot in leaving:
        task = work.candidates(slot)[-1]
        known, past = _spec_for(work, task)
        where = _where(round_, task)
        if task.fixed:
            continue
        if not known:
            turn = "its turn in the update" if moves(work) else "the update, which is paused"
            work.waits[slot] = f"stays on {where}: waits for {turn}"
        elif any(other.life == "ending" for other in work.tasks(slot)):
            work.waits[slot] = ENDING
        elif work.history(slot).next_at > round_.now:
            work.wake(work.history(slot).next_at)
            work.waits[slot] = f"stays on {where}: its replacement failed; waits before the next start"
        elif work.history(slot).given_up == task.spec:
            work.waits[slot] = f"stays on {where}: its replacements fail"
        elif gate := _gate(work, task):
            work.waits[slot] = f"stays on {where}: {gate}"
        else:
            group = groups.get(task.spec) or groups.setdefault(task.spec, grouped(past))
            (_carry if task.target else _replace)(work, round_, group, task, past)
    for group in groups.values():
        group.finish()


def _replace(work: Work, round_: Round, group: Group, task: Task, past: Past | None) -> None:
    slot, unplaced, elsewhere = task.slot, list(work.unplaced), set(work.elsewhere)
    if place_task(work, round_, group, slot, past):
        return
    if work.unplaced == unplaced:  # it has a place, on a node that is expected
        work.waits[slot] = f"stays on {_where(round_, task)}: {work.waits[slot]}"
        return
    work.unplaced, work.elsewhere = unplaced, elsewhere
    spec = past.spec if past is not None else work.spec
    why = group.refusal(work.volume_slot(slot, spec)).why
    if (spare(work) or 0) > 0 and is_up(work, slot):
        if not _holds_back(work, round_, task):
            _leave(work, round_, task, f"; it finds no place elsewhere: {why}")
            work.waits[slot] = ENDING
    else:
        work.waits[slot] = f"stays on node {task.node}, which is {round_.nodes[task.node].trouble}: {why}"


def _carry(work: Work, round_: Round, group: Group, task: Task, past: Past | None) -> None:
    """A rebalance: to its target and nowhere else, and only if nothing that is promised is lost by it: its policy may
    be another than when it began, or another slot be down by now."""
    slot = work.volume_slot(task.slot, past.spec if past is not None else work.spec)
    if not group.fits(slot, task.target):
        work.waits[task.slot] = f"stays on {_where(round_, task)}: there is no room on node {task.target} now"
    elif _taken(work, round_, task) >= limit(work):
        work.waits[task.slot] = f"stays on {_where(round_, task)}: {TURN}"
    elif work.policy.order == "start-first":
        place_task(work, round_, group, task.slot, past)
    elif (left := spare(work)) is not None and left < 1:
        work.waits[task.slot] = f"stays on {_where(round_, task)}: {work.policy.max_unavailable} may be unavailable"
    elif why := lacking(work, round_, task, task.target):
        work.waits[task.slot] = f"stays on {_where(round_, task)}: {why}"
    elif not _holds_back(work, round_, task):
        _leave(work, round_, task)
        work.waits[task.slot] = ENDING


def _taken(work: Work, round_: Round, task: Task) -> int:
    """How many slots it would share the service's parallelism with: doubled with start-first, else down."""
    if work.policy.order == "start-first":
        return sum(not is_alone(work, slot) for slot in work.wanted)
    return taken_down(work, task.slot, round_.now) if task.life == "up" else 0


def _holds_back(work: Work, round_: Round, task: Task) -> bool:
    return round_.caution.holds_back(work, task.slot, f"stays on {_where(round_, task)}")


def _where(round_: Round, task: Task) -> str:
    """The node that it is to leave, in words."""
    if task.target:
        return f"node {task.node}, moves to {task.target}"
    return f"node {task.node}, which is {round_.nodes[task.node].trouble}"


def _leave(work: Work, round_: Round, task: Task, more: str = "") -> None:
    if task.target:
        end_task(work, round_, task, f"moves to node {task.target}{more}", f"task.moved/{task.id}")
        return
    view = round_.nodes[task.node]
    cause = view.record.cause if view.record is not None else ""
    why = f"node {task.node} is {view.trouble}{more}"
    end_task(work, round_, task, why, cause or f"node.{view.trouble}/{view.name}")


def _gate(work: Work, task: Task) -> str:
    """What its replacement would wait for (`controller.gates`): till then nothing is ended for it; "" if nothing."""
    return work.again if task.spec == work.spec_hash else work.past_again


def _ends_first(work: Work, round_: Round, task: Task) -> bool:
    """Whether it waits for no other: none is to come, or none may run beside it, or an operator said so."""
    alone = task.alone and not _gate(work, task)
    return work.record.mode == "global" or alone or _at_once(round_, task)


def _at_once(round_: Round, task: Task) -> bool:
    record = round_.nodes[task.node].record
    return record is not None and (record.removed or record.force)


def _to_replace(work: Work, slot: str) -> bool:
    candidates = work.candidates(slot)
    return bool(candidates) and all(task.leaving for task in candidates)


def _spec_for(work: Work, task: Task) -> tuple[bool, Past | None]:
    """Of which spec the replacement is: of the task's own. False: that is neither the wanted nor the good one, or the
    update is about to replace the task anyway."""
    if task.spec == work.spec_hash:
        return True, None
    if work.past is not None and task.spec == work.past.hash and not moves(work):
        return True, work.past
    return False, None
