"""One round's decisions: `plan(world, dirty, now)`. Pure: no clock, chance, logging or I/O; sorted iteration.

Verdicts first (`controller.liveness`), then each service that may need something (`controller.decide`). The changes
come in the order in which they may be committed in pieces: verdicts, progress (it holds the history of what the
assignments then forget), nodes that only lose tasks, nodes that gain some, and last what is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from controller.census import services_on
from controller.changes import (
    Change,
    DropNode,
    DropRollout,
    Fault,
    Plan,
    PutBrake,
    PutLiveness,
    PutRebalance,
    PutRollout,
)
from controller.decide import Decided, Survey, decide, survey
from controller.liveness import Judged
from controller.networking import plan_networks
from controller.nodes import NodeView
from controller.progress import missing_revision, undecided
from controller.reasons import grouped
from controller.stackgood import plan_stacks
from controller.work import Work
from controller.world import Dirty, World
from schemas.records import Reason

HELD_RECHECK = 0.5
"""Seconds after which a decision that waits for a node to be heard is looked at again."""


def plan(world: World, dirty: Dirty, now: float) -> Plan:
    """What to change now. `now` is stream time."""
    seen = survey(world, now)
    names = _services_to_look_at(world, dirty, seen.judged)
    names |= seen.moving.services & world.services.keys()
    decided = decide(world, seen, names, now)
    progress = list(_progress(world, decided, now))
    written = {change.record.service: change.record for change in progress if isinstance(change, PutRollout)}
    changes: tuple[Change, ...] = (
        *_verdicts(world, seen.judged),
        *((PutBrake(seen.brake),) if seen.brake != world.brake else ()),
        *((PutRebalance(seen.moving.record),) if seen.moving.record not in (None, world.rebalance) else ()),
        *(change for change in progress if isinstance(change, PutRollout)),
        *decided.draft.changes(),
        *plan_networks(world, seen, decided, frozenset(names) - decided.broken.keys()),
        *plan_stacks(world, names, written, everything=dirty.everything),
        *(change for change in progress if isinstance(change, DropRollout)),
        *_forgotten(world, decided),
    )
    alarms = (*_alarms(seen.nodes, decided), *_faults(decided))
    wake_at = _wake_at(seen, decided.works, now)
    return Plan(changes, decided.minted, wake_at, alarms, tuple(decided.broken.values()), seen.moving.open_orders)


def _services_to_look_at(world: World, dirty: Dirty, judged: Mapping[str, Judged]) -> set[str]:
    """Those named, those on nodes that changed, and all that are not where their intent wants them."""
    if dirty.everything:
        return set(world.services)
    changed = {name for name, verdict in judged.items() if verdict.record != world.liveness.get(name)}
    named = dirty.services | services_on(world, dirty.nodes | changed)
    touched = {name for name in named if name in world.services}
    moved = bool(dirty.nodes or changed)
    for name, stored in world.services.items():
        rollout = world.rollouts.get(name)
        restless = rollout is None or rollout.phase != "done" or rollout.intent != stored.sequence
        if restless or (moved and stored.record.mode == "global"):
            touched.add(name)
    return touched


def _progress(world: World, decided: Decided, now: float) -> Iterable[PutRollout | DropRollout]:
    for name, record in decided.progress.items():
        prior = world.rollouts.get(name)
        if record is None:
            if prior is not None:
                yield DropRollout(name)
        elif record != prior:
            yield PutRollout(record)
    for name, fault in sorted(decided.broken.items()):
        record = undecided(world.services[name], world.rollouts.get(name), _told(fault), now)
        if record != world.rollouts.get(name):
            yield PutRollout(record)
    # A round that had begun before a removed service was cleared away may have written one for it again.
    over = world.rollouts.keys() - world.services.keys() - decided.census.orphans.keys()
    yield from map(DropRollout, sorted(over))


def _told(fault: Fault) -> str:
    return f"it can't be decided about, by a fault of the controller: {fault.error}"


def _faults(decided: Decided) -> tuple[Reason, ...]:
    return grouped([f"service {name}: {_told(fault)}" for name, fault in sorted(decided.broken.items())])


def _verdicts(world: World, judged: Mapping[str, Judged]) -> Iterable[PutLiveness]:
    for name, verdict in judged.items():
        if verdict.record is not None and verdict.record != world.liveness.get(name):
            yield PutLiveness(verdict.record)


def _forgotten(world: World, decided: Decided) -> Iterable[DropNode]:
    """What is left of nodes whose records say that they were removed, once nothing is assigned to them any more."""
    for name, stored in sorted(world.nodes.items()):
        if not stored.record.removed or any(decided.draft.tasks(name)):
            continue
        assigned = world.assignments.get(name)
        if assigned is not None and assigned.record.tasks:
            continue  # forgotten in a round of its own: first it is stored that they are gone
        if assigned is not None:
            yield DropNode(name, "desired")
        if name in world.liveness:
            yield DropNode(name, "liveness")


def _wake_at(seen: Survey, works: Iterable[Work], now: float) -> float | None:
    times = [seen.moving.wake_at, *(verdict.recheck_at for verdict in seen.judged.values())]
    times += [work.wake_at for work in works]
    times += [now + HELD_RECHECK for work in works if work.held]
    return min((at for at in times if at is not None), default=None)


def _alarms(nodes: Mapping[str, NodeView], decided: Decided) -> tuple[Reason, ...]:
    """What nobody has decided: it stops nothing."""
    texts = [
        f"service {service} has {count} tasks but is not in the store"
        for service, count in sorted(decided.census.orphans.items())
    ]
    texts += [f"node {name} is not in the store" for name, view in nodes.items() if view.record is None]
    texts += [missing_revision(work) for work in decided.works if work.spec is None and not work.record.removed]
    return grouped(texts)
