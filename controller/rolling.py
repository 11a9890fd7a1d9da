"""How a changed service moves on: which update it is in, whose turn it is, when it has failed, and what follows.

Docker's meaning of update_config and rollback_config. All that the next step depends on stands in the rollout record
(`UpdateProgress`), so any leader can take it. A slot's *turn* begins when its old task is told to end (stop-first) or
its new one is placed beside it (start-first); it is over when the new one is up, alone, and `delay` has passed. Its
end within `monitor` is a failure. Steps of a round: `begin`, `settle` (which calls `note_failure`), `advance`, and
`controller.failing`, which says what follows.
"""

from __future__ import annotations

import msgspec

from controller.census import Task
from controller.policies import policy_of
from controller.work import Past, Work
from controller.world import World
from schemas.observation import EndedTask
from schemas.records import Turn, UpdateProgress

ACTIVE = frozenset({"updating", "rollback_started"})
HALTED = frozenset({"paused", "rollback_paused"})
REOPENED = {"completed": "updating", "rollback_completed": "rollback_started"}


def begin(work: Work, world: World) -> None:
    """Load what the record says, and the policy that holds."""
    prior = work.prior
    if prior is not None:
        work.good = prior.good
        if prior.deploy == work.aim.deploy:
            state = prior.update.state or ("completed" if prior.phase == "done" else "")
            work.update = msgspec.structs.replace(prior.update, state=state)
    set_policy(work, world)


def advance(work: Work, now: float) -> None:
    """Bring the turns up to date. `work.wanted` is known."""
    if work.update.state == "":
        open_turns(work, now, msgspec.structs.replace(work.update, state="updating"))
    elif work.update.state in REOPENED and any(_outdated(work, slot) for slot in work.wanted):
        state = "updating" if work.update.state == "completed" else "rollback_started"
        open_turns(work, now, msgspec.structs.replace(work.update, state=state, turns={}, failed=0))
    _track(work, now)


def note_failure(work: Work, task: Task, entry: EndedTask, now: float) -> None:
    """A task of the wanted spec ended by itself: within its slot's turn or watch it counts as failed, once per slot."""
    turn = work.update.turns.get(task.slot)
    if turn is None or turn.failed_at or task.spec != work.spec_hash or work.update.state not in ACTIVE:
        return
    if turn.up_at and now > turn.up_at + work.policy.monitor and not canary(work):
        return
    culprit = work.update.culprit or entry
    slot = work.update.culprit_slot or task.slot
    turns = {**work.update.turns, task.slot: Turn(up_at=0.0, failed_at=now)}
    work.update = msgspec.structs.replace(
        work.update, turns=turns, failed=work.update.failed + 1, culprit=culprit, culprit_slot=slot
    )


def canary(work: Work) -> int:
    """So many slots may have the wanted spec for now; 0: all."""
    return work.record.canary if work.update.state in ("", "updating", "paused") else 0


def reached(work: Work) -> int:
    """Slots that have the wanted spec or have done its work, or take their turn to get it."""
    return sum(slot in work.update.turns or has_reached(work, slot) for slot in work.wanted)


def has_reached(work: Work, slot: str) -> bool:
    """Whether the slot has a task of the wanted spec, or needs none."""
    return new_task(work, slot) is not None or work.did(slot)


def take_turn(work: Work, slot: str, now: float, node: str = "") -> None:
    """The slot's turn begins; `node`: where its next task is to go."""
    if slot not in work.update.turns:
        turns = {**work.update.turns, slot: Turn(node=node)}
        work.update = msgspec.structs.replace(work.update, turns=turns, moved_at=now)


def give_up_turn(work: Work, slot: str) -> None:
    """Nothing was done yet, and nothing can be."""
    turns = {name: turn for name, turn in work.update.turns.items() if name != slot}
    work.update = msgspec.structs.replace(work.update, turns=turns)


def occupied(work: Work, now: float) -> int:
    """How many slots are taking their turn now."""
    return sum(slot not in work.elsewhere and _busy(work, slot, turn, now) for slot, turn in work.update.turns.items())


def limit(work: Work) -> int:
    """How many may take their turn at the same time."""
    return work.policy.parallelism or max(1, len(work.wanted))


def moves(work: Work) -> bool:
    """Whether slots may get their turn now."""
    return work.update.state in ACTIVE and not work.record.paused and not work.gate


def keeps_old(work: Work, slot: str, now: float) -> bool:
    """Whether an empty slot gets the last good revision again, since it is not its turn: a new one enters by turns."""
    if work.past is None or slot in work.update.turns:
        return False
    if canary(work) and reached(work) >= canary(work):
        return _last_spec(work, slot) != work.spec_hash
    if _last_spec(work, slot) != work.past.hash:
        return False
    return not (moves(work) and occupied(work, now) < limit(work))


def first_of_spec(work: Work, slot: str) -> bool:
    """Whether the slot's last task was of another spec than the one wanted now."""
    return _last_spec(work, slot) not in ("", work.spec_hash)


def surging(work: Work, slot: str) -> bool:
    """Whether the slot has its new task beside the old one for a while."""
    if work.policy.order != "start-first" or slot not in work.update.turns:
        return False
    if work.update.state in HALTED and not canary(work):
        return False
    specs = [task.spec == work.spec_hash for task in work.candidates(slot)]
    return len(specs) == 2 and sum(specs) == 1


def new_task(work: Work, slot: str) -> Task | None:
    """The slot's task of the wanted spec; the latest."""
    tasks = [task for task in work.candidates(slot) if task.spec == work.spec_hash]
    return tasks[-1] if tasks else None


def is_up(work: Work, slot: str) -> bool:
    """Whether anything of the slot is up, of whatever spec."""
    return any(task.life == "up" for task in work.candidates(slot))


def gate_of(work: Work, slot: str) -> str:
    """What keeps the slot's next task of the wanted spec from being made; "" if nothing does."""
    return work.again if _last_spec(work, slot) == work.spec_hash else work.gate


def finished(work: Work) -> bool:
    """Whether nobody is watched any more."""
    return all(turn.failed_at for turn in work.update.turns.values())


def complete(work: Work) -> None:
    """All is as wanted."""
    update = work.update
    if update.state == "updating" or (update.state == "paused" and not update.failed):
        update = msgspec.structs.replace(update, state="completed", turns={}, late=False, why="", culprit=None)
        update = msgspec.structs.replace(update, culprit_slot="", failed=0)
    elif update.state == "rollback_started":
        update = msgspec.structs.replace(update, state="rollback_completed", turns={}, late=False)
    work.update = update
    if update.state in ("completed", "rollback_completed"):
        work.good = work.aim.revision


# the parts


def set_policy(work: Work, world: World) -> None:
    """Whose words count, and which revision is the last good one."""
    own = work.spec
    work.policy = policy_of(world, work.record, work.update, own) or work.policy
    if work.policy.order == "start-first" and _runs_alone(work):
        work.policy = msgspec.structs.replace(work.policy, order="stop-first")
    work.past = None
    good = world.revisions.get((work.name, work.good))
    if good is not None and own is not None and good.spec.task.hash != work.spec_hash and good.spec.mode == own.mode:
        work.past = Past(good.number, good.spec, good.spec.task.hash)


def _runs_alone(work: Work) -> bool:
    """Whether a slot's tasks, old or new, must not run beside each other."""
    stop_after = work.spec.task.stop_after if work.spec is not None else 0.0
    return stop_after > 0 or any(task.alone for tasks in work.slots.values() for task in tasks)


def open_turns(work: Work, now: float, update: UpdateProgress) -> None:
    """A deploy or roll-back begins: slots that stood before and are not up have their turn at once (but a canary's)."""
    behind = [slot for slot in work.wanted if not _is_new_and_up(work, slot) and _stood(work, slot)]
    down = [slot for slot in behind if work.prior is not None and not _outdated(work, slot)]
    turns = {slot: Turn() for slot in down if not canary(work) or new_task(work, slot) is not None}
    work.update = msgspec.structs.replace(update, total=len(behind), turns=turns, best=0, moved_at=now, late=False)


def _stood(work: Work, slot: str) -> bool:
    return bool(work.tasks(slot)) or bool(work.history(slot).ended)


def _is_new_and_up(work: Work, slot: str) -> bool:
    task = new_task(work, slot)
    return (task is not None and task.life == "up") or (task is None and _did_its_work(work, slot))


def _did_its_work(work: Work, slot: str) -> bool:
    """Whether it needs no task of the wanted spec, and nothing runs: until an old one has ended its turn goes on."""
    return work.did(slot) and not any(task.live for task in work.tasks(slot))


def _outdated(work: Work, slot: str) -> bool:
    candidates = work.candidates(slot)
    return bool(candidates) and all(task.spec != work.spec_hash for task in candidates)


def _last_spec(work: Work, slot: str) -> str:
    """The spec of the slot's last task, which is lost or ended."""
    lost = [task for task in work.tasks(slot) if task.life in ("lost", "ending", "ended")]
    if lost:
        return lost[-1].spec
    ended = work.history(slot).ended
    return ended[0].spec if ended else ""


def settled(work: Work, slot: str) -> bool:
    """Whether the slot's turn needs nothing more: nothing else of it lives, or the old task stays till the canary is
    promoted."""
    return is_alone(work, slot) or bool(canary(work) and surging(work, slot))


def stands(work: Work, now: float) -> bool:
    """Whether the canary is up and was watched (or has done its work), and there is something left to promote."""
    if not canary(work) or work.update.state != "updating" or not _holds_back(work):
        return False
    watch = max(work.policy.delay, work.policy.monitor)
    turns = work.update.turns
    up = [slot for slot in work.wanted if _is_new_and_up(work, slot) or (_outdated(work, slot) and work.did(slot))]
    watched = [slot for slot in up if slot not in turns or turns[slot].failed_at or now >= turns[slot].up_at + watch]
    return len(watched) >= min(canary(work), len(work.wanted))


def _holds_back(work: Work) -> bool:
    """Whether a canary leaves something to promote."""
    old = any(task.spec != work.spec_hash for slot in work.wanted for task in work.candidates(slot))
    return old or (work.past is not None and not all(has_reached(work, slot) for slot in work.wanted))


def is_alone(work: Work, slot: str) -> bool:
    """Whether nothing else of the slot lives on a node that answers."""
    return sum(task.live for task in work.tasks(slot)) <= 1


def _busy(work: Work, slot: str, turn: Turn, now: float) -> bool:
    if turn.failed_at and surging(work, slot):
        return True
    since = turn.failed_at or turn.up_at
    if not since or not (turn.failed_at or (settled(work, slot) and is_up(work, slot))):
        return True  # what was up may have been told to end in this very round, by a drain
    if now < since + work.policy.delay:
        work.wake(since + work.policy.delay)
        return True
    return False


def _track(work: Work, now: float) -> None:
    """What became of the slots that have their turn or are watched."""
    update = work.update
    wanted = set(work.wanted)
    watch = max(work.policy.delay, work.policy.monitor)
    turns: dict[str, Turn] = {}
    for slot, turn in update.turns.items():
        if slot not in wanted or (_did_its_work(work, slot) and not turn.failed_at):
            continue
        task = new_task(work, slot)
        if turn.failed_at:
            turns[slot] = turn
        elif task is None or task.life != "up":
            turns[slot] = Turn(node=turn.node)
        elif not turn.up_at:
            turns[slot] = Turn(up_at=now)
        elif now < turn.up_at + watch or not is_alone(work, slot) or (canary(work) and _holds_back(work)):
            turns[slot] = turn
        if slot in turns and now < turns[slot].up_at + watch:
            work.wake(turns[slot].up_at + watch)
    up = sum(_is_new_and_up(work, slot) for slot in work.wanted)
    halted = work.record.paused or bool(work.gate)
    work.update = msgspec.structs.replace(update, turns=turns)
    standing = stands(work, now)
    gone_on = (update.halted and not halted) or (update.stands and not standing)
    moved = turns != update.turns or up > update.best or gone_on
    work.update = msgspec.structs.replace(
        work.update,
        best=max(up, update.best),
        halted=halted,
        moved_at=now if moved else update.moved_at,
        late=update.late and not moved,
        stands=standing,
    )
