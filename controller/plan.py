"""One round's decisions: `plan(world, dirty, now)`. Pure: no clock, chance, logging or I/O; sorted iteration.

Verdicts first, then each service that may need something: its ended tasks become history, what is not wanted is
ended, empty slots are filled, old specs are replaced. The changes come in the order in which they may be
committed in pieces: verdicts, progress (it holds the history of what the assignments then forget), nodes that only
lose tasks, nodes that gain some, and last what is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from controller.brake import decide_brake
from controller.census import Census, services_on, take_census
from controller.draft import Draft
from controller.global_ import wanted_nodes
from controller.liveness import Judged, judge_nodes
from controller.nodes import NodeView, view_nodes
from controller.orders import confirm_dead
from controller.placement import Group, Site
from controller.progress import nothing_decided, rollout_of
from controller.reasons import grouped
from controller.replicated import wanted_slots
from controller.restarts import failing_nodes
from controller.settle import settle
from controller.slots import Round, explain_unplaced, fill, leave_nodes, retire_doubles, retire_unwanted
from controller.task_ids import Mint
from controller.updates import update
from controller.work import Work, mark_retired, open_work
from controller.world import Change, Dirty, DropRollout, Plan, PutBrake, PutLiveness, PutRollout, World
from schemas.records import Reason

HELD_RECHECK = 0.5
"""Seconds after which a decision that waits for a node to be heard is looked at again."""


def plan(world: World, dirty: Dirty, now: float) -> Plan:
    """What to change now. `now` is stream time."""
    judged = confirm_dead(world, judge_nodes(world, now), now)
    brake = decide_brake(world, judged, now)
    nodes = view_nodes(world, judged)
    names = _services_to_look_at(world, dirty, judged)
    census = take_census(world, nodes, names)
    round_ = Round(now, nodes, Draft(world), Mint(world.epoch, world.minted), brake.engaged)
    works = [open_work(world, name, census) for name in sorted(names)]
    for work in works:
        _clear(work, round_)
    site = Site(world, round_.draft, nodes)
    groups = [(work, _group(work, site, now)) for work in works if work.spec is not None and work.wanted]
    for work, group in groups:
        fill(work, round_, group)
        group.finish()
    for work, group in groups:
        update(work, round_, group, site.ledger)
        explain_unplaced(work, group)
    progress = [change for work in works for change in _progress(world, work, now)]
    changes: tuple[Change, ...] = (
        *_verdicts(world, judged),
        *((PutBrake(brake),) if brake != world.brake else ()),
        *(change for change in progress if isinstance(change, PutRollout)),
        *round_.draft.changes(),
        *(change for change in progress if isinstance(change, DropRollout)),
    )
    return Plan(changes, round_.mint.minted, _wake_at(judged, works, now), _alarms(nodes, works, census))


def _clear(work: Work, round_: Round) -> None:
    """First step for all services: history, then the end of what is not wanted. It only ever frees room."""
    if work.spec is None and not work.record.removed:
        return
    settle(work, round_.draft, round_.now)
    if work.record.removed:
        _note_lost(work)
    elif work.record.mode == "global":
        work.wanted = wanted_nodes(work, round_.nodes) if work.aim.deploy else ()
    else:
        work.wanted = wanted_slots(work)
    mark_retired(work)
    retire_unwanted(work, round_)
    retire_doubles(work, round_)
    leave_nodes(work, round_)


def _note_lost(work: Work) -> None:
    """A removed service is only gone when its tasks on silent nodes are."""
    for slot in sorted(work.slots):
        work.notes += [f"a task is on node {task.node}, which is down" for task in work.tasks(slot) if not task.live]


def _group(work: Work, site: Site, now: float) -> Group:
    assert work.spec is not None, "checked by the caller"
    return Group(site, work.spec, work.spec_hash, work.counts(), failing_nodes(work.failures, now))


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
        restless = rollout is None or rollout.phase == "converging" or rollout.intent != stored.sequence
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


def _alarms(nodes: Mapping[str, NodeView], works: Iterable[Work], census: Census) -> tuple[Reason, ...]:
    """What nobody has decided: it stops nothing."""
    texts = [
        f"service {service} has {count} tasks but is not in the store"
        for service, count in sorted(census.orphans.items())
    ]
    texts += [f"node {name} is not in the store" for name, view in nodes.items() if view.record is None]
    texts += [_missing_revision(work) for work in works if work.spec is None and not work.record.removed]
    return grouped(texts)
