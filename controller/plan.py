"""One round's decisions: `plan(world, dirty, now)`. Pure: no clock, chance, logging or I/O; sorted iteration.

Verdicts first (`controller.liveness`), then each service that may need something (`controller.decide`). The changes
come in the order in which they may be committed in pieces: verdicts, progress (it holds the history of what the
assignments then forget), nodes that only lose tasks, nodes that gain some, and last what is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from controller.census import services_on
from controller.decide import Decided, decide, survey
from controller.liveness import Judged
from controller.networking import plan_networks
from controller.nodes import NodeView
from controller.progress import nothing_decided, rollout_of
from controller.reasons import grouped
from controller.stackgood import plan_stacks
from controller.work import Work
from controller.world import Change, Dirty, DropRollout, Plan, PutBrake, PutLiveness, PutRollout, World
from schemas.records import Reason

HELD_RECHECK = 0.5
"""Seconds after which a decision that waits for a node to be heard is looked at again."""


def plan(world: World, dirty: Dirty, now: float) -> Plan:
    """What to change now. `now` is stream time."""
    seen = survey(world, now)
    names = _services_to_look_at(world, dirty, seen.judged)
    decided = decide(world, seen, names, now)
    progress = [change for work in decided.works for change in _progress(world, work, now)]
    written = {change.record.service: change.record for change in progress if isinstance(change, PutRollout)}
    changes: tuple[Change, ...] = (
        *_verdicts(world, seen.judged),
        *((PutBrake(seen.brake),) if seen.brake != world.brake else ()),
        *(change for change in progress if isinstance(change, PutRollout)),
        *decided.draft.changes(),
        *plan_networks(world, seen, decided, frozenset(names)),
        *plan_stacks(world, names, written, everything=dirty.everything),
        *(change for change in progress if isinstance(change, DropRollout)),
    )
    return Plan(changes, decided.minted, _wake_at(seen.judged, decided.works, now), _alarms(seen.nodes, decided))


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


def _progress(world: World, work: Work, now: float) -> Iterable[PutRollout | DropRollout]:
    prior = world.rollouts.get(work.name)
    if work.record.removed and not any(work.slots.values()):
        if prior is not None:
            yield DropRollout(work.name)
        return
    if work.spec is None and not work.record.removed:
        record = nothing_decided(work, _missing_revision(work), now)
    else:
        record = rollout_of(work, now)
    if record != prior:
        yield PutRollout(record)


def _missing_revision(work: Work) -> str:
    return f"revision {work.aim.revision} of {work.name} is not in the store"


def _verdicts(world: World, judged: Mapping[str, Judged]) -> Iterable[PutLiveness]:
    for name, verdict in judged.items():
        if verdict.record is not None and verdict.record != world.liveness.get(name):
            yield PutLiveness(verdict.record)


def _wake_at(judged: Mapping[str, Judged], works: Iterable[Work], now: float) -> float | None:
    times = [verdict.recheck_at for verdict in judged.values()]
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
    texts += [_missing_revision(work) for work in decided.works if work.spec is None and not work.record.removed]
    return grouped(texts)
