"""Deciding about services: the steps of a round between seeing the nodes and writing changes.

For all services: ended tasks become history and what is not wanted is ended (that only frees room); then empty slots
are filled; then, when every placement of the round is made, old specs are replaced and open slots get their reasons.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from controller.brake import decide_brake
from controller.census import Census, take_census
from controller.draft import Draft
from controller.failing import judge
from controller.gates import dependencies_first, set_gates, with_dependencies
from controller.global_ import wanted_nodes
from controller.liveness import Judged, judge_nodes
from controller.moving import leave_nodes, move
from controller.nodes import NodeView, view_nodes
from controller.orders import confirm_dead
from controller.placement import Group, Site
from controller.preparing import tidy
from controller.replicated import wanted_slots
from controller.restarts import failing_nodes
from controller.rolling import advance, begin
from controller.settle import settle
from controller.slots import Round, explain_unplaced, fill, fill_old, retire_doubles, retire_unwanted
from controller.task_ids import Mint
from controller.updates import surge, update
from controller.work import Past, Work, mark_retired, open_work
from controller.world import World
from schemas.records import BrakeRecord


@dataclass(frozen=True)
class Survey:
    """The nodes as the round sees them."""

    judged: Mapping[str, Judged]
    brake: BrakeRecord
    nodes: Mapping[str, NodeView]


@dataclass(frozen=True)
class Decided:
    """What the steps leave behind."""

    works: tuple[Work, ...]
    census: Census
    draft: Draft
    minted: int


def survey(world: World, now: float) -> Survey:
    """Verdicts, brake and views of all nodes."""
    judged = confirm_dead(world, judge_nodes(world, now), now)
    return Survey(judged, decide_brake(world, judged, now), view_nodes(world, judged))


def decide(world: World, seen: Survey, names: Iterable[str], now: float) -> Decided:
    """Go through the steps for the services `names`."""
    wanted = with_dependencies(world, names)
    census = take_census(world, seen.nodes, wanted)
    round_ = Round(now, seen.nodes, Draft(world), Mint(world.epoch, world.minted), seen.brake.engaged)
    works = tuple(open_work(world, name, census) for name in sorted(wanted))
    cleared: dict[str, Work | None] = {work.name: None for work in works}
    for work in dependencies_first(works):
        _clear(work, round_, world, cleared)
        cleared[work.name] = work
    site = Site(world, round_.draft, seen.nodes)
    groups = [(work, _group(work, site, now)) for work in works if work.spec is not None and work.wanted]
    for work, group in groups:
        fill(work, round_, group)
        group.finish()
    for work, _ in groups:
        _refill_and_surge(work, round_, site)
    for work, group in groups:
        update(work, round_, group, site.ledger)
        explain_unplaced(work, group)
    for work in works:
        tidy(work, round_, census.prepared.get(work.name, ()))
    return Decided(works, census, round_.draft, round_.mint.minted)


def _clear(work: Work, round_: Round, world: World, works: Mapping[str, Work | None]) -> None:
    """First step for all services: history, then the end of what is not wanted. It only ever frees room.

    Those that it depends on have gone through it before.
    """
    if work.spec is None and not work.record.removed:
        return
    begin(work, world)
    settle(work, round_.draft, round_.now)
    if work.record.removed:
        _note_lost(work)
    else:
        work.wanted = _wanted(work, round_)
        set_gates(work, works)
        advance(work, round_.now)
        judge(work, world, round_.now)
        if work.reaimed:
            work.wanted = _wanted(work, round_)
            set_gates(work, works)
    mark_retired(work)
    retire_unwanted(work, round_)
    retire_doubles(work, round_)
    leave_nodes(work, round_)


def _wanted(work: Work, round_: Round) -> tuple[str, ...]:
    if work.record.mode == "global":
        return wanted_nodes(work, round_.nodes) if work.aim.deploy else ()
    return wanted_slots(work)


def _refill_and_surge(work: Work, round_: Round, site: Site) -> None:
    """Places beside those of empty slots: the last good revision for some of these, and new tasks beside old ones."""
    if work.past is not None and work.refilled:
        group = _group(work, site, round_.now, work.past)
        fill_old(work, round_, group, work.past)
        group.finish()
    move(work, round_, lambda past: _group(work, site, round_.now, past))
    if work.policy.order == "start-first":
        group = _group(work, site, round_.now)
        surge(work, round_, group)
        group.finish()


def _note_lost(work: Work) -> None:
    """A removed service is only gone when its tasks on silent nodes are."""
    for slot in sorted(work.slots):
        work.notes += [f"a task is on node {task.node}, which is down" for task in work.tasks(slot) if not task.live]


def _group(work: Work, site: Site, now: float, past: Past | None = None) -> Group:
    assert work.spec is not None, "checked by the caller"
    spec, spec_hash = (past.spec, past.hash) if past is not None else (work.spec, work.spec_hash)
    return Group(site, spec, spec_hash, work.counts(), failing_nodes(work.failures, now))
