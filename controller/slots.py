"""Filling and emptying slots: what both kinds of services share.

Invariants: a slot's next task is made only when none of its tasks lives on a node that answers; of two that live (a
node came back) one is ended; nothing is ended on a node that may not be touched now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf

from controller.caution import Caution
from controller.census import Task
from controller.draft import Draft
from controller.nodes import NodeView
from controller.placement import Group, Placed, Refused
from controller.rolling import first_of_spec, gate_of, keeps_old, surging, take_turn
from controller.task_ids import Mint
from controller.work import TURN, Past, Work
from schemas.assignment import AssignedTask

ENDING = "the previous task is still to end"
READY = "its image is there"
MOVED = "moved there to even out the spread"
BRAKE = "the brake is on: too many nodes fell silent at once"


@dataclass(frozen=True, slots=True)
class Round:
    """What every step of a round needs. `braked`: lost tasks are not replaced now."""

    now: float
    nodes: Mapping[str, NodeView]
    draft: Draft
    mint: Mint
    braked: bool
    caution: Caution


def end_task(work: Work, round_: Round, task: Task, why: str, cause: str) -> None:
    """Ask for a task's end; on a node that may not be touched now, note that it waits."""
    if task.fixed:
        view = round_.nodes[task.node]
        why = f"a task is to end on node {task.node}, which is {view.trouble or 'not heard yet'}"
        (work.held if view.record is not None else work.notes).append(why)
        return
    work.replace(task, replace(task, assigned=round_.draft.end(task, why, cause), life="ending"))


def retire_unwanted(work: Work, round_: Round) -> None:
    """End the tasks of slots that are not wanted."""
    wanted = set(work.wanted)
    for slot in sorted(work.slots):
        if slot in wanted:
            continue
        for task in work.candidates(slot):
            if _others_count(work, task) and round_.caution.holds_back(work, slot, "still to be scaled away"):
                continue
            end_task(work, round_, task, _why_unwanted(work, round_, task), _cause_unwanted(work, round_, task))


def _others_count(work: Work, task: Task) -> bool:
    """Whether it is up, and ends since others are enough."""
    return task.life == "up" and bool(work.wanted) and work.record.mode == "replicated"


def _why_unwanted(work: Work, round_: Round, task: Task) -> str:
    if work.record.removed:
        return "the service was removed"
    if work.record.mode == "replicated":
        return f"scaled to {work.aim.replicas}"
    view = round_.nodes[task.node]
    return f"node {task.node} is {view.trouble}" if view.leaving else f"node {task.node} does not fit any more"


def _cause_unwanted(work: Work, round_: Round, task: Task) -> str:
    view = round_.nodes[task.node]
    if not work.record.removed and work.record.mode == "global" and view.record is not None and view.record.cause:
        return view.record.cause
    return work.record.cause


def retire_doubles(work: Work, round_: Round) -> None:
    """After a node came back: keep the replacement if it is up, else the original, and end the others."""
    for slot in work.wanted:
        candidates = work.candidates(slot)
        if len(candidates) < 2 or surging(work, slot):
            continue
        if any(task.fixed for task in candidates):
            _leave_it_alone(work, round_, candidates)
            continue
        if any(task.leaving for task in candidates) and not all(task.leaving for task in candidates):
            continue
        kept = _original(work, candidates) or keep_of(
            candidates, work.spec_hash, work.past.hash if work.past is not None else ""
        )
        for task in candidates:
            if task is not kept:
                why = f"the slot is filled by {kept.id} on {kept.node}"
                end_task(work, round_, task, why, f"node.back/{task.node}")


def _leave_it_alone(work: Work, round_: Round, candidates: list[Task]) -> None:
    """What must not run twice: beside a task on a node that can't be told anything now, all others end."""
    away = next(task for task in candidates if task.fixed)
    for task in candidates:
        if task.alone and not task.fixed:
            end_task(work, round_, task, f"the slot is filled by {away.id} on {away.node}", f"node.back/{task.node}")


def _original(work: Work, candidates: list[Task]) -> Task | None:
    """The oldest that is up with the wanted spec, where the service wants its originals back."""
    if work.spec is None or work.spec.on_reconnect != "keep-original":
        return None
    return next((task for task in candidates if task.life == "up" and task.spec == work.spec_hash), None)


def keep_of(candidates: list[Task], spec: str = "", good: str = "") -> Task:
    """Of several tasks of one slot, oldest first: the latest if it is up, else the oldest that is, else the oldest.

    Of those that are up, one of the wanted `spec` goes before the others, then one of the last `good` one.
    """
    for first in (spec, good):
        wanted = [task for task in candidates if first and task.life == "up" and task.spec == first]
        if wanted:
            return wanted[-1]
    latest = candidates[-1]
    return latest if latest.life == "up" else next((task for task in candidates if task.life == "up"), candidates[0])


def fill(work: Work, round_: Round, group: Group) -> None:
    """Give each wanted slot that has nothing the task it needs, or note why not; slots that have their turn first."""
    for slot in sorted(work.wanted, key=lambda slot: slot not in work.update.turns):
        if work.candidates(slot):
            continue
        if (why := _must_wait(work, round_, slot)) is not None:
            work.waits[slot] = why
        elif not work.over(slot):
            if keeps_old(work, slot, round_.now):
                work.refilled.append(slot)
                continue
            if gate := gate_of(work, slot):
                work.waits[slot] = gate
                continue
            if first_of_spec(work, slot):
                take_turn(work, slot, round_.now)
            place_task(work, round_, group, slot)


def fill_old(work: Work, round_: Round, group: Group, past: Past) -> None:
    """Slots whose turn it is not get the last good revision again."""
    for slot in work.refilled:
        if past.hash in (work.history(slot).complete, work.history(slot).given_up):
            work.waits[slot] = TURN
        elif work.past_again:
            work.waits[slot] = work.past_again
        else:
            place_task(work, round_, group, slot, past)


def explain_unplaced(work: Work, group: Group) -> None:
    """Say why slots found no place, once all services of the round have taken theirs."""
    shared: Refused | None = None
    for slot in work.unplaced:
        if work.record.mode == "global":
            refused = group.refusal_on(slot)
        elif shared is not None:
            refused = shared
        else:
            refused = group.refusal(work.volume_slot(slot))
            shared = refused if group.alike else None
        work.waits[slot] = refused.why


def _must_wait(work: Work, round_: Round, slot: str) -> str | None:
    tasks = work.tasks(slot)
    ending = [task for task in tasks if task.life == "ending"]
    if ending:
        stray = next((task for task in ending if task.assigned is None), None)
        return ENDING if stray is None else f"a task that no assignment names still runs on node {stray.node}"
    history = work.history(slot)
    if work.over(slot):
        return _given_up(work, slot) if history.given_up == work.spec_hash else None
    if (held := _held(work, round_, slot)) is not None:
        return held
    if round_.braked and any(task.life == "lost" for task in tasks):
        work.elsewhere.add(slot)
        return BRAKE
    if history.next_at > round_.now:
        work.wake(history.next_at)
        return f"waits before its next start; the last task {_how_it_ended(work, slot)}"
    return None


def _held(work: Work, round_: Round, slot: str) -> str | None:
    """Why a lost task that must not run twice may still run; None: no such task does."""
    held = [task for task in work.tasks(slot) if task.life == "lost" and task.held_until > round_.now]
    if not held:
        return None
    work.elsewhere.add(slot)
    last = max(held, key=lambda task: task.held_until)
    if last.held_until == inf:
        why = round_.nodes[last.node].uncovered
        return (
            f"{last.id} may still run on node {last.node}, which is down ({why}), and must not run twice: "
            f"meshctl node confirm-dead {last.node} says that it does not"
        )
    work.wake(last.held_until)
    return f"{last.id} on node {last.node}, which is down, has its time to stop by itself: it must not run twice"


def _given_up(work: Work, slot: str) -> str:
    return f"given up: the last task {_how_it_ended(work, slot)}"


def _how_it_ended(work: Work, slot: str) -> str:
    history = work.history(slot)
    if not history.ended:
        return "ended"
    last = history.ended[0]
    if last.error:
        return f"failed: {last.error}"
    return f"ended with exit code {last.exit_code}" if last.exit_code is not None else "ended"


def place_task(work: Work, round_: Round, group: Group, slot: str, past: Past | None = None) -> bool:
    """The slot's next task, of the wanted spec or of `past`; False: it finds no place, or its node is not heard yet."""
    spec = past.spec if past is not None else work.spec
    assert spec is not None, "nothing is placed without a spec"
    task = round_.mint.next()
    if work.record.mode == "global":
        found: Placed | Refused = group.place_on(task, slot)
    else:
        turn = work.update.turns.get(slot) if past is None else None
        ready, target = turn.node if turn is not None else "", work.targets.get(slot, "")
        found = group.place(task, work.volume_slot(slot, spec), ready or target, MOVED if target else READY)
    if isinstance(found, Refused):
        round_.mint.minted -= 1
        work.unplaced.append(slot)
        if found.elsewhere:
            work.elsewhere.add(slot)
        return False
    if round_.nodes[found.node].expected:
        round_.mint.minted -= 1
        work.waits[slot] = f"waits for node {found.node}, which this leader has not heard yet"
        return False  # looked at again when the node is heard, or is late (`controller.liveness`)
    why, cause = _origin(work, round_, slot)
    spec_hash = past.hash if past is not None else work.spec_hash
    assigned = AssignedTask(
        id=task,
        service=work.name,
        slot=slot,
        revision=past.revision if past is not None else work.aim.revision,
        spec=spec_hash,
        stack=work.record.stack,
        hold=round_.now,
        cause=cause,
        why=f"{why}{found.why}",
    )
    round_.draft.add(found.node, assigned, spec.task)
    placed = Task(task, work.name, slot, found.node, spec_hash, "pending", assigned)
    work.slots.setdefault(slot, []).append(placed)
    return True


def _origin(work: Work, round_: Round, slot: str) -> tuple[str, str]:
    """What the new task descends from: a node that it leaves, a lost one, the end of the task before, or the intent."""
    leaving = [task for task in work.candidates(slot) if task.leaving]
    if leaving and leaving[-1].target:
        return f"replaces {leaving[-1].id} on node {leaving[-1].node}; ", f"task.moved/{leaving[-1].id}"
    if leaving:
        view = round_.nodes[leaving[-1].node]
        cause = view.record.cause if view.record is not None else ""
        return f"replaces {leaving[-1].id}, node {view.name} is {view.trouble}; ", cause or f"node.drained/{view.name}"
    lost = [task for task in work.tasks(slot) if task.life == "lost"]
    if lost:
        return f"replaces {lost[-1].id}, node {lost[-1].node} is down; ", f"node.down/{lost[-1].node}"
    ended = work.history(slot).ended
    if ended and not ended[0].why and work.spec is not None and not work.record.paused:
        return f"follows {ended[0].id}; ", f"task.ended/{ended[0].id}"
    return "", work.record.cause
