"""How a rebalance goes on: which of its moves may begin, which are done, which are skipped and why. Pure.

A service has its moves by waves of at most `parallelism`, each begun while the service's rollout is done, and `monitor`
after the wave before. A task that is being moved is one that is to leave its node (`controller.moving`): its service's
order says whether its replacement starts first. What can't be moved is left where it is: nothing is lost by it.
All of it stands in the `rebalance` record, so any leader goes on with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec.structs import replace

from controller.patience import PATIENCE, Placed, last_of, patience, policy_at, watched_until
from controller.world import Stored, World
from schemas.rebalance import Move, MoveProgress, RebalanceRecord
from schemas.records import OrderRecord, RolloutRecord

AT_ONCE = 20
"""Tasks of all services that are being moved at the same time."""

STOPPED = "stopped by an operator"


@dataclass(frozen=True)
class Moving:
    """What a round is to know of moves."""

    record: RebalanceRecord | None = None
    tasks: Mapping[str, str] = field(default_factory=dict)
    """Task that is to leave its node -> where to."""
    targets: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """Service and slot -> the node where its next task goes."""
    wake_at: float | None = None
    open_orders: frozenset[str] = frozenset()

    @property
    def services(self) -> frozenset[str]:
        """Services with moves that are not over."""
        moves = self.record.moves if self.record is not None and self.record.active else ()
        return frozenset(each.move.service for each in moves if each.state in ("waiting", "moving"))


NOTHING = Moving()


def follow_moves(world: World, now: float) -> Moving:
    """How far the rebalance is, and what this round is to do of it."""
    record = _current(world, now)
    if record is None or not record.active:
        return Moving(record, open_orders=_waiting(world, record))
    order = world.orders.get(record.order)
    stopped = order is None or order.sequence != record.sequence
    tasks = {task.id: (node, task) for node, stored in world.assignments.items() for task in stored.record.tasks}
    ends = patience(world, tasks, record.moves)
    moves = [_advanced(world, tasks, each, now, ends(each)) for each in record.moves]
    if stopped:
        moves = [_skipped(each, STOPPED, now) if each.state in ("waiting", "moving") else each for each in moves]
    else:
        moves = _begun(world, moves, now)
    active = any(each.state in ("waiting", "moving") for each in moves)
    record = replace(record, moves=tuple(moves), active=active, since=record.since if active else now)
    moving = [each for each in moves if each.state == "moving"]
    return Moving(
        record,
        tasks={each.move.task: each.move.target for each in moving},
        targets={(each.move.service, each.move.slot): each.move.target for each in moving},
        wake_at=_wake_at(world, tasks, moves, now) if active else None,
        open_orders=_waiting(world, record if active else None),
    )


def _current(world: World, now: float) -> RebalanceRecord | None:
    """The rebalance under way, or else the oldest that was ordered since."""
    record = world.rebalance
    if record is not None and record.active:
        return record
    known = record.sequence if record is not None else 0
    fresh = [each for each in _orders(world) if each.sequence > known]
    if not fresh:
        return record
    order = min(fresh, key=lambda each: each.sequence)
    moves = tuple(MoveProgress(move=move, at=now) for move in order.record.moves)
    return RebalanceRecord(order=order.record.id, sequence=order.sequence, moves=moves, since=now)


def _orders(world: World) -> list[Stored[OrderRecord]]:
    return [each for each in world.orders.values() if each.record.kind == "rebalance"]


def _waiting(world: World, record: RebalanceRecord | None) -> frozenset[str]:
    """Orders that are not answered yet: the one under way, and those after it."""
    if record is not None and record.active:
        return frozenset(each.record.id for each in _orders(world) if each.sequence >= record.sequence)
    known = world.rebalance.sequence if world.rebalance is not None else 0
    return frozenset(each.record.id for each in _orders(world) if each.sequence > known)


def _advanced(world: World, tasks: Placed, each: MoveProgress, now: float, given_up_at: float) -> MoveProgress:
    """The move, with what has become of it."""
    move = each.move
    if each.state not in ("waiting", "moving"):
        return each
    stored = world.services.get(move.service)
    if stored is None or stored.record.removed:
        return _skipped(each, "the service was removed", now)
    old = tasks.get(move.task)
    stays = old is not None and old[1].desired == "running"
    if each.state == "waiting":
        if not stays:
            return _skipped(each, "its task is no more", now)
        return _skipped(each, _late(world, move), now) if now >= given_up_at else each
    rollout = world.rollouts.get(move.service)
    if stays and rollout is not None and _failed_since(rollout, move.slot, each.at):
        return _skipped(each, "its replacement failed", now)
    late = now >= given_up_at
    if stays:
        why = f"it found no place or did not come up within {PATIENCE:g} s"
        return _skipped(each, why, now) if late else each
    if (old is None or late) and _is_up(world, tasks, move):
        return replace(each, state="done", at=now)
    why = "its task ended, and the next is not up" if old is None else "its task has not ended"
    return _skipped(each, why, now) if late else each


def _begun(world: World, moves: list[MoveProgress], now: float) -> list[MoveProgress]:
    """The moves, with those begun whose turn it is."""
    under_way = Counter(each.move.service for each in moves if each.state == "moving")
    free = AT_ONCE - under_way.total()
    begun: Counter[str] = Counter()
    done = last_of(moves, "done")
    found: list[MoveProgress] = []
    for each in moves:
        service = each.move.service
        turn = each.state == "waiting" and free > 0 and not under_way[service] and _may_begin(world, done, service, now)
        if turn and begun[service] < max(1, policy_at(world, service).parallelism):
            begun[service] += 1
            free -= 1
            each = replace(each, state="moving", at=now)
        found.append(each)
    return found


def _may_begin(world: World, done: Mapping[str, float], service: str, now: float) -> bool:
    """Whether the service runs as a whole, and has done so for as long as its policy watches a new task."""
    stored, rollout = world.services.get(service), world.rollouts.get(service)
    if stored is None or stored.record.paused or rollout is None:
        return False
    whole = rollout.phase == "done" and rollout.intent == stored.sequence
    return whole and now >= watched_until(world, done, service)


def _is_up(world: World, tasks: Placed, move: Move) -> bool:
    """Whether the slot has a task that is up, wherever."""
    for node, task in tasks.values():
        if (task.service, task.slot, task.desired) == (move.service, move.slot, "running"):
            seen = world.observations.get(node)
            if seen is not None and any(each.id == task.id and each.up for each in seen.tasks):
                return True
    return False


def _failed_since(rollout: RolloutRecord, slot: str, at: float) -> bool:
    history = rollout.slots.get(slot)
    return history is not None and any(failed > at for failed in history.failed_at)


def _late(world: World, move: Move) -> str:
    stored = world.services.get(move.service)
    if stored is not None and stored.record.paused:
        return "the service is paused"
    return f"the service did not run as a whole within {PATIENCE:g} s"


def _skipped(each: MoveProgress, why: str, now: float) -> MoveProgress:
    return replace(each, state="skipped", at=now, why=why)


def _wake_at(world: World, tasks: Placed, moves: list[MoveProgress], now: float) -> float | None:
    ends = patience(world, tasks, moves)
    times = [ends(each) for each in moves if each.state in ("waiting", "moving")]
    waiting = {each.move.service for each in moves if each.state == "waiting"}
    done = last_of(moves, "done")
    times += [watched_until(world, done, name) for name in sorted(waiting)]
    return min((at for at in times if at > now), default=None)
