"""When a move of a rebalance is given up, and when the next wave of its service may begin. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from typing import TypeAlias

from controller.policies import policy_of
from controller.world import World
from schemas.assignment import AssignedTask
from schemas.rebalance import Move, MoveProgress, MoveState
from schemas.spec import UpdatePolicy

PATIENCE = 300.0
"""Seconds after which a move that does not get on is given up; beyond the stop grace of a task that is to end, and
beyond what its service is watched for."""

Placed: TypeAlias = Mapping[str, tuple[str, AssignedTask]]
"""Task -> the node that it is assigned to, and what it is."""


def patience(world: World, tasks: Placed, moves: Sequence[MoveProgress]) -> Callable[[MoveProgress], float]:
    """Tells of a move when it is given up, in stream time. One that waits is not while others move, nor is one that
    waits for its turn in a wave while another of its service has it; then it has its time from when the last one was
    over, or its own task had ended."""
    moving = [each for each in moves if each.state == "moving"]
    last = inf if moving else max((each.at for each in moves), default=0.0)
    over, done = last_of(moves, "done", "skipped"), last_of(moves, "done")
    filled = Counter((task.service, task.slot) for _, task in tasks.values() if task.desired == "running")

    def has_turn(move: Move) -> bool:
        _, old = tasks.get(move.task, ("", None))
        return old is None or old.desired != "running" or filled[move.service, move.slot] > 1

    turns = {each.move.service for each in moving if has_turn(each.move)}

    def ends(each: MoveProgress) -> float:
        service = each.move.service
        if each.state == "waiting":
            return max(last, watched_until(world, done, service)) + PATIENCE
        if service in turns and not has_turn(each.move):
            return inf
        since = max(each.at, over.get(service, 0.0))
        node, old = tasks.get(each.move.task, ("", None))
        if old is None:
            return max(since, _ended_at(world, each.move)) + PATIENCE
        if old.desired == "running":
            return since + PATIENCE
        spec = world.assignments[node].record.specs.get(old.spec)
        return since + (spec.container.stop_grace if spec is not None else 0.0) + PATIENCE

    return ends


def last_of(moves: Iterable[MoveProgress], *states: MoveState) -> dict[str, float]:
    """Service -> when the last of its moves came to one of these states."""
    found: dict[str, float] = {}
    for each in moves:
        if each.state in states:
            found[each.move.service] = max(each.at, found.get(each.move.service, 0.0))
    return found


def _ended_at(world: World, move: Move) -> float:
    """When its task was seen ended; 0.0: nobody saw that."""
    rollout = world.rollouts.get(move.service)
    history = rollout.slots.get(move.slot) if rollout is not None else None
    return next((each.at for each in (history.ended if history is not None else ()) if each.id == move.task), 0.0)


def watched_until(world: World, done: Mapping[str, float], service: str) -> float:
    """Stream time until which the wave before is watched, by when the last move of each service was done."""
    policy = policy_at(world, service)
    return done[service] + max(policy.monitor, policy.delay) if service in done else 0.0


def policy_at(world: World, service: str) -> UpdatePolicy:
    """The policy by which the service's tasks are replaced now."""
    stored, rollout = world.services.get(service), world.rollouts.get(service)
    if stored is None or rollout is None:
        return UpdatePolicy()
    revision = world.revisions.get((service, rollout.revision))
    own = revision.spec if revision is not None else None
    return policy_of(world, stored.record, rollout.update, own) or UpdatePolicy()
