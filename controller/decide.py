"""Deciding about services: the steps of a round between seeing the nodes and writing changes.

For all services: ended tasks become history and what is not wanted is ended (that only frees room); then empty slots
are filled; then, when every placement of the round is made, old specs are replaced and open slots get their reasons.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from controller.alone import end_replaced
from controller.brake import decide_brake
from controller.caution import Caution
from controller.census import Census, take_census
from controller.changes import Fault
from controller.draft import Draft
from controller.failing import judge
from controller.gates import company_first, dependencies_first, set_gates, with_dependencies
from controller.global_ import wanted_nodes
from controller.liveness import Judged, judge_nodes
from controller.moves import NOTHING, Moving, follow_moves
from controller.moving import leave_nodes, move
from controller.nodes import NodeView, view_nodes
from controller.orders import confirm_dead
from controller.placement import Group
from controller.preparing import tidy
from controller.progress import progress_of
from controller.replicated import wanted_slots
from controller.restarts import failing_nodes
from controller.retrying import fill_again
from controller.rolling import advance, begin
from controller.settle import settle
from controller.site import Site
from controller.slots import Round, explain_unplaced, fill, fill_old, retire_doubles, retire_unwanted
from controller.task_ids import Mint
from controller.updates import surge, take_back, update
from controller.work import Past, Work, mark_retired, open_work
from controller.world import World
from schemas.records import BrakeRecord, RolloutRecord


@dataclass(frozen=True)
class Survey:
    """The nodes as the round sees them."""

    judged: Mapping[str, Judged]
    brake: BrakeRecord
    nodes: Mapping[str, NodeView]
    moving: Moving = NOTHING


@dataclass(frozen=True)
class Decided:
    """What the steps leave behind."""

    works: tuple[Work, ...]
    progress: Mapping[str, RolloutRecord | None]
    """Each one's record as it should stand; None: it is gone."""
    census: Census
    draft: Draft
    minted: int
    broken: Mapping[str, Fault]
    """Services left as they are, because deciding about them failed."""


ERROR_LENGTH = 200
"""Characters of an error that are told of."""

MOST_BROKEN = 20
"""Services for which a round is planned anew without them; when there are more, nothing can be decided."""


class _Broken(Exception):
    """Deciding about one service failed."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.error)
        self.fault = fault


def survey(world: World, now: float) -> Survey:
    """Verdicts, brake and views of all nodes, and the rebalance under way."""
    judged = confirm_dead(world, judge_nodes(world, now), now)
    return Survey(judged, decide_brake(world, judged, now), view_nodes(world, judged), follow_moves(world, now))


def decide(world: World, seen: Survey, names: Iterable[str], now: float) -> Decided:
    """Go through the steps for the services `names`. One for which that fails stays as it is and holds up no other."""
    broken: dict[str, Fault] = {}
    while True:
        try:
            return _decide(world, seen, with_dependencies(world, names) - broken.keys(), now, broken)
        except _Broken as failure:
            if len(broken) >= MOST_BROKEN:
                raise
            broken[failure.fault.service] = failure.fault


@contextmanager
def _of(service: str) -> Iterator[None]:
    """A failure in here is that of the service."""
    try:
        yield
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        raise _Broken(Fault(service, text[:ERROR_LENGTH], traceback.format_exc())) from error


def _decide(world: World, seen: Survey, wanted: frozenset[str], now: float, broken: Mapping[str, Fault]) -> Decided:
    names = wanted | broken.keys()
    census = take_census(world, seen.nodes, names, seen.moving.tasks)
    caution = Caution(world.unseen_since, now)
    round_ = Round(now, seen.nodes, Draft(world), Mint(world.epoch, world.minted), seen.brake.engaged, caution)
    for name in sorted(names):
        end_replaced(census.of(name), round_)
    works = tuple(_opened(world, name, census) for name in sorted(wanted))
    for work in works:
        work.targets = {slot: node for (service, slot), node in seen.moving.targets.items() if service == work.name}
    cleared: dict[str, Work | None] = {work.name: None for work in works}
    for work in dependencies_first(works):
        with _of(work.name):
            _clear(work, round_, world, cleared)
        cleared[work.name] = work
    site = Site(world, round_.draft, seen.nodes)
    placing = tuple(company_first(work for work in works if work.spec is not None and work.wanted))
    groups = {work.name: _open_group(work, site, now) for work in placing}
    before = round_.mint.minted
    for work in placing:
        with _of(work.name):
            fill(work, round_, groups[work.name])
            groups[work.name].finish()
    _fill_again(placing, round_, site, groups, before)
    before = round_.mint.minted
    for work in placing:
        with _of(work.name):
            _refill_and_surge(work, round_, site)
    _fill_again(placing, round_, site, groups, before)
    for work in placing:
        with _of(work.name):
            update(work, round_, groups[work.name], site.ledger)
            explain_unplaced(work, groups[work.name])
    records = {}
    for work in works:
        with _of(work.name):
            tidy(work, round_, census.prepared.get(work.name, ()))
            records[work.name] = progress_of(work, now)
    return Decided(works, records, census, round_.draft, round_.mint.minted, broken)


def _open_group(work: Work, site: Site, now: float) -> Group:
    with _of(work.name):
        return _group(work, site, now)


def _fill_again(works: Iterable[Work], round_: Round, site: Site, groups: dict[str, Group], before: int) -> None:
    """Until no empty slot finds a place by what was placed since `before`, a count of the round's mint."""
    while round_.mint.minted > before:
        before = round_.mint.minted
        for work in works:
            with _of(work.name):
                if fill_again(work, round_, partial(_group, work, site, round_.now)):
                    groups[work.name] = _group(work, site, round_.now)


def _opened(world: World, name: str, census: Census) -> Work:
    with _of(name):
        return open_work(world, name, census)


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
    take_back(work)


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
