"""Where tasks should move so that they are spread evenly, by the fewest moves. Pure.

First each service by itself: its tasks over the branches that it is to be spread over and over nodes, until no two
differ by more than one. Then the nodes: a task goes from a node with many to one with few, where its service is not
spread worse by it. A move has to find room on its target beside what is there: a replacement may start first.

Left where they are: tasks with named volumes, of global services, of jobs, of services whose rollout is not done, and
all that is not up; and services that others are to run beside.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from controller.census import Task, take_census
from controller.draft import Draft
from controller.nodes import NodeView
from controller.placement import Group
from controller.restarts import failing_nodes
from controller.site import Site
from controller.work import Work, open_work, slot_key
from controller.world import World
from schemas.rebalance import Move

UNEVEN = 2
"""Two places are uneven if they differ by so many tasks: one move makes that better."""


@dataclass
class _Service:
    """One service whose tasks may be moved."""

    work: Work
    group: Group
    counts: Counter[str]
    movable: dict[str, list[Task]] = field(default_factory=lambda: defaultdict(list))
    """Node -> its tasks that may be moved, the last one first to go."""

    def load(self, nodes: Iterable[str]) -> int:
        """Tasks on these nodes."""
        return sum(self.counts[node] for node in nodes)


def even_out(world: World, nodes: Mapping[str, NodeView], now: float) -> list[Move]:
    """All moves that even out the spread, the most needed of each service first."""
    census = take_census(world, nodes, world.services)
    site = Site(world, Draft(world), nodes)
    totals = Counter({name: site.ledger.room(name).tasks for name, view in nodes.items() if view.open})
    company = {other for each in world.revisions.values() for other in each.spec.task.placement.affinity}
    services: list[_Service] = []
    for name in sorted(world.services):
        work = open_work(world, name, census)
        if name not in company and (service := _service(work, site, now)) is not None:
            services.append(service)
    moves: list[Move] = []
    for service in services:
        while (pair := _uneven_pair(service, totals, service.group.eligible, 0)) is not None:
            moves.append(_shift(service, totals, pair, "evens out the service"))
    while (found := _swap(services, totals)) is not None:
        moves.append(_shift(*found))
    return moves


def _service(work: Work, site: Site, now: float) -> _Service | None:
    """None: nothing of it is moved."""
    rollout = work.prior
    if work.record.removed or work.record.paused or work.record.mode == "global" or work.spec is None:
        return None
    if rollout is None or rollout.phase != "done" or rollout.intent != work.stored.sequence:
        return None
    if work.spec.task.restart.condition != "any":
        return None
    group = Group(site, work.spec, work.spec_hash, work.counts(), failing_nodes(work.failures, now))
    if not group.alike:
        return None
    service = _Service(work, group, work.counts())
    for slot in sorted(work.slots, key=slot_key):
        tasks = work.tasks(slot)
        if len(tasks) == 1 and tasks[0].life == "up" and not (tasks[0].fixed or tasks[0].leaving):
            service.movable[tasks[0].node].append(tasks[0])
    return service


def _uneven_pair(service: _Service, totals: Counter[str], nodes: Sequence[str], depth: int) -> tuple[str, str] | None:
    """From where to where one task of the service makes its spread over `nodes` better; outer branches first."""
    leaf = depth >= len(service.group.branch(nodes[0])) if nodes else True
    parts: dict[str, list[str]] = defaultdict(list)
    for node in nodes:
        parts[node if leaf else service.group.branch(node)[depth]].append(node)
    order = sorted(parts, key=lambda part: (service.load(parts[part]), sum(totals[each] for each in parts[part]), part))
    for fewest in order:
        target = _target(service, totals, parts[fewest])
        if target is None:
            continue
        for most in reversed(order):
            if service.load(parts[most]) - service.load(parts[fewest]) < UNEVEN:
                break
            if (source := _source(service, totals, parts[most])) is not None:
                return source, target
        break
    if leaf:
        return None
    inner = (_uneven_pair(service, totals, parts[part], depth + 1) for part in sorted(parts))
    return next((pair for pair in inner if pair is not None), None)


def _source(service: _Service, totals: Counter[str], nodes: Iterable[str]) -> str | None:
    having = [node for node in nodes if service.movable.get(node)]
    return max(having, key=lambda node: (service.counts[node], totals[node], node), default=None)


def _target(service: _Service, totals: Counter[str], nodes: Iterable[str]) -> str | None:
    slot = service.work.volume_slot("")
    fitting = [node for node in nodes if service.group.fits(slot, node)]
    return min(fitting, key=lambda node: (service.counts[node], totals[node], node), default=None)


def _swap(
    services: Sequence[_Service], totals: Counter[str]
) -> tuple[_Service, Counter[str], tuple[str, str], str] | None:
    """A task that goes from a node with many tasks to one with few, and whose service is as even as before."""
    order = sorted(totals, key=lambda node: (totals[node], node))
    for source in reversed(order):
        for target in order:
            if totals[source] - totals[target] < UNEVEN:
                break
            for service in services:
                if _may_swap(service, source, target):
                    why = f"evens out the nodes: {totals[source]} tasks on {source}, {totals[target]} on {target}"
                    return service, totals, (source, target), why
    return None


def _may_swap(service: _Service, source: str, target: str) -> bool:
    if not service.movable.get(source) or target not in service.group.eligible:
        return False
    if service.counts[source] <= service.counts[target]:
        return False
    ours, theirs = service.group.branch(source), service.group.branch(target)
    for depth in range(len(ours)):
        if ours[: depth + 1] != theirs[: depth + 1]:
            if _branch_load(service, ours[: depth + 1]) <= _branch_load(service, theirs[: depth + 1]):
                return False
            break
    return service.group.fits(service.work.volume_slot(""), target)


def _branch_load(service: _Service, branch: tuple[str, ...]) -> int:
    return service.load(node for node in service.group.eligible if service.group.branch(node)[: len(branch)] == branch)


def _shift(service: _Service, totals: Counter[str], pair: tuple[str, str], why: str) -> Move:
    source, target = pair
    task = service.movable[source].pop()
    told = f"{why}: {service.counts[source]} tasks on {source}, {service.counts[target]} on {target}"
    service.group.shift(task.id, source, target)
    service.counts[source] -= 1
    service.counts[target] += 1
    totals[source] -= 1
    totals[target] += 1
    return Move(
        service=service.work.name,
        slot=task.slot,
        task=task.id,
        source=source,
        target=target,
        why=told if why.startswith("evens out the service") else why,
    )
