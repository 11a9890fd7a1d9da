"""What a task waits for before it is made: services that its own depends on (Compose's depends_on), on whatever node.

A gate keeps tasks from being made, and never ends one. Two questions are told apart:

- A *new* revision waits for the dependency's deploy as a whole: while that is under way every slot must have got so far
  with the new revision; once it is over, one slot is enough. What is to complete must be complete in every slot.
- A task that *follows* one of the same revision waits only if nothing of the dependency is there at all. What once
  completed is not waited for again.

A dependency without slots (scaled to 0) is not waited for. Decided in the order of dependencies, on what the round
has decided about them already, so that a round is final.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from controller.census import Task
from controller.rolling import ACTIVE
from controller.work import Work, aim_of
from controller.world import World
from schemas.spec import Dependency, ServiceSpec

_FAILED = frozenset({"paused", "rollback_paused", "rollback_completed"})
_GOAL = {
    "service_started": "start",
    "service_healthy": "be healthy",
    "service_completed_successfully": "complete",
}


def with_dependencies(world: World, names: Iterable[str]) -> frozenset[str]:
    """The services, those that they depend on, and so on."""
    found: set[str] = set()
    ahead = list(names)
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            ahead.extend(other for other in _named(world, name) if other in world.services)
    return frozenset(found)


def dependencies_first(works: Iterable[Work]) -> Iterator[Work]:
    """Each work after those that it depends on; by name where nothing else is asked. A circle is cut somewhere."""
    by_name = {work.name: work for work in works}
    needs = {
        work.name: tuple(each.service for each in work.spec.depends_on) if work.spec is not None else ()
        for work in by_name.values()
    }
    return (by_name[name] for name in in_order(needs))


def company_first(works: Iterable[Work]) -> Iterator[Work]:
    """Each work after those that it is to be placed beside, so that it finds them placed."""
    by_name = {work.name: work for work in works}
    needs = {work.name: work.spec.task.placement.affinity if work.spec is not None else () for work in by_name.values()}
    return (by_name[name] for name in in_order(needs))


def in_order(needs: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Each name after those that it needs and that are there; by name where nothing else is asked."""
    done: set[str] = set()
    for name in sorted(needs):
        ahead = [name]
        begun: set[str] = set()
        while ahead:
            here = ahead[-1]
            open_ = [other for other in needs[here] if other in needs and other not in done | begun]
            if here in done:
                ahead.pop()
            elif here not in begun and open_:
                begun.add(here)
                ahead.extend(sorted(open_, reverse=True))
            else:
                ahead.pop()
                done.add(here)
                yield here


def set_gates(work: Work, works: Mapping[str, Work | None]) -> None:
    """Look at all that the wanted spec, and the last good one, depend on. `works`: None is not looked at yet."""
    work.gate = _unmet(work.spec, works, new=True)
    work.again = _unmet(work.spec, works, new=False)
    work.past_again = _unmet(work.past.spec, works, new=False) if work.past is not None else ""


def _unmet(spec: ServiceSpec | None, works: Mapping[str, Work | None], *, new: bool) -> str:
    """What is waited for, in words; the first in the order of the file. "": nothing."""
    for dependency in spec.depends_on if spec is not None else ():
        name = dependency.service
        if name in works and works[name] is None:
            return f"waits for {name}, which waits for it"
        if why := unmet(dependency, works.get(name), new=new):
            return why
    return ""


def unmet(dependency: Dependency, work: Work | None, *, new: bool) -> str:
    """Why one dependency does not hold; "" if it does."""
    name = dependency.service
    if work is None or work.record.removed or work.spec is None:
        if not dependency.required:
            return ""
        return f"waits for {name}, which is {'being removed' if work and work.record.removed else 'not there'}"
    if dependency.condition == "service_completed_successfully" and not new:
        return ""
    there = sum(_has_got_there(work, slot, dependency, new=new) for slot in work.wanted)
    needed = _needed(work, dependency, new=new)
    if there >= needed or (not dependency.required and _has_failed(work)):
        return ""
    return f"waits for {name} to {_GOAL[dependency.condition]} ({there} of {needed}){_what_failed(work)}"


def _needed(work: Work, dependency: Dependency, *, new: bool) -> int:
    every = dependency.condition == "service_completed_successfully" or _under_way(work)
    return len(work.wanted) if new and every else min(1, len(work.wanted))


def _under_way(work: Work) -> bool:
    """Whether its deploy is still bringing tasks up."""
    return (work.update.state == "" or work.update.state in ACTIVE) and not work.update.late


def _has_got_there(work: Work, slot: str, dependency: Dependency, *, new: bool) -> bool:
    history = work.history(slot)
    if dependency.condition == "service_completed_successfully":
        return work.did(slot)
    strict = new and _under_way(work)
    tasks = [task for task in work.candidates(slot) if not strict or task.spec == work.spec_hash]
    if any(task.life == "up" for task in tasks):
        return True
    if dependency.condition == "service_healthy":
        return False
    ended = (entry.spec for entry in history.ended if entry.exit_code is not None)
    return any(map(_runs, tasks)) or work.spec_hash in ended


def _runs(task: Task) -> bool:
    return task.seen is not None and task.seen.state == "running"


def _has_failed(work: Work) -> bool:
    """Whether nothing more is to be expected of its deploy."""
    given_up = any(work.history(slot).given_up == work.spec_hash for slot in work.wanted)
    return work.update.state in _FAILED or work.update.late or given_up


def _what_failed(work: Work) -> str:
    """Of a dependency that gave up: how its last task ended."""
    for slot in work.wanted:
        history = work.history(slot)
        if history.given_up == work.spec_hash and history.ended:
            last = history.ended[0]
            return f", which failed: {last.error or f'exit code {last.exit_code}'}"
    return ""


def _named(world: World, service: str) -> Iterator[str]:
    """What its wanted revision, and the last good one, depend on."""
    stored = world.services.get(service)
    if stored is None:
        return
    prior = world.rollouts.get(service)
    numbers = {aim_of(stored.record, prior).revision, prior.good if prior is not None else 0}
    for number in sorted(numbers):
        if (revision := world.revisions.get((service, number))) is not None:
            yield from (each.service for each in revision.spec.depends_on)
