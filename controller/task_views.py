"""Tasks as people see them: assignment, observation and verdict of each put together, and slots that wait. Pure.

`state` is what was observed; `assigned` before that, `lost` while the node is down, `pending` for a slot without a
task.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from controller.records import Records
from controller.work import slot_key
from schemas.assignment import AssignedTask
from schemas.errors import Refused
from schemas.observation import EndedTask, Observation, ObservedTask
from schemas.records import RevisionRecord, RolloutRecord, ServiceRecord
from schemas.spec import ServiceSpec
from schemas.taskapi import ListTasks, TaskDetail, TaskView

PENDING_LISTED = 1000
"""Waiting slots of one service that are listed one by one."""

Observations = Mapping[str, Observation]


@dataclass(frozen=True)
class _Found:
    view: TaskView
    why: str = ""
    ended: EndedTask | None = None


def listed(records: Records, observations: Observations, wanted: ListTasks) -> list[TaskView]:
    """The tasks that pass the filters: by service and slot, the slot's current task first, history last."""
    found = [each.view for each in _all(records, observations) if _passes(each.view, wanted)]
    if wanted.ended:
        found += [each.view for each in _history(records) if _passes(each.view, wanted)]
    if not wanted.node:
        found += [view for view in _pending(records) if _passes(view, wanted)]
    return sorted(found, key=_order)


def find(records: Records, observations: Observations, name: str) -> TaskDetail | None:
    """The task with that id, unique prefix of it, or container id. Raises Refused: several match."""
    if not name:
        return None
    found = [*_all(records, observations), *_history(records)]
    exact = [each for each in found if each.view.id == name]
    matching = exact or [each for each in found if any(id_.startswith(name) for id_ in _ids(each.view))]
    ids = sorted({each.view.id for each in matching})
    if len(ids) > 1:
        raise Refused(f"{name!r} may be any of {', '.join(ids[:5])}", hint="give more of the id")
    if not matching:
        return None
    best = matching[0]
    revision = records.revisions.get((best.view.service, best.view.revision))
    spec: ServiceSpec | None = revision.spec if revision else None
    return TaskDetail(task=best.view, spec=spec, ended=best.ended, placement=best.why)


def _all(records: Records, observations: Observations) -> Iterator[_Found]:
    """What is assigned or observed."""
    for node in sorted({*records.assignments, *observations}):
        stored, observation = records.assignments.get(node), observations.get(node)
        seen = {task.id: task for task in observation.tasks} if observation else {}
        down = _is_down(records, node)
        assigned = stored.record.tasks if stored else ()
        for task in assigned:
            yield _Found(_assigned_view(records, node, task, seen.get(task.id), down=down), task.why)
        named = {task.id for task in assigned}
        for observed in seen.values():
            if observed.id not in named and not observed.ended:
                yield _Found(_stray_view(records, node, observed, down=down), "not assigned (any more)")


def _assigned_view(
    records: Records, node: str, task: AssignedTask, seen: ObservedTask | None, *, down: bool
) -> TaskView:
    spec = records.assignments[node].record.specs.get(task.spec)
    current = task.desired == "running" and not down
    if seen is None:
        return TaskView(
            id=task.id,
            service=task.service,
            slot=task.slot,
            state="lost" if down else "assigned",
            desired=task.desired,
            stack=task.stack,
            node=node,
            revision=task.revision,
            image=spec.container.image if spec else "",
            since=_lost_since(records, node) if down else max(0.0, task.hold),
            error=_lost(records, node) if down else "",
            why=task.why,
            current=current,
        )
    return TaskView(
        id=task.id,
        service=task.service,
        slot=task.slot,
        state="lost" if down and not seen.ended else seen.state,
        desired=task.desired,
        stack=task.stack,
        node=node,
        revision=task.revision,
        image=spec.container.image if spec else seen.image,
        since=_lost_since(records, node) if down and not seen.ended else seen.since,
        health=seen.health,
        not_ready=seen.not_ready,
        error=_lost(records, node) if down and not seen.ended else seen.error,
        why=task.why,
        container=seen.container,
        exit_code=seen.exit_code,
        oom_killed=seen.oom_killed,
        log_tail=seen.log_tail,
        ports=seen.ports,
        current=current,
    )


def _stray_view(records: Records, node: str, seen: ObservedTask, *, down: bool) -> TaskView:
    return TaskView(
        id=seen.id,
        service=seen.service,
        slot=seen.slot,
        state="lost" if down else seen.state,
        desired="shutdown",
        stack=seen.stack,
        node=node,
        revision=seen.revision,
        image=_image(records, seen.service, seen.revision) or seen.image,
        since=_lost_since(records, node) if down else seen.since,
        health=seen.health,
        not_ready=seen.not_ready,
        container=seen.container,
        ports=seen.ports,
        current=False,
    )


def _history(records: Records) -> Iterator[_Found]:
    """Ended tasks that their services remember, but for those that an assignment still names."""
    named = {task.id for stored in records.assignments.values() for task in stored.record.tasks}
    for service, rollout in sorted(records.rollouts.items()):
        stored = records.services.get(service)
        stack = stored.record.stack if stored else ""
        for slot, history in rollout.slots.items():
            for ended in history.ended:
                if ended.id not in named:
                    view = _ended_view(service, stack, slot, ended, _image(records, service, ended.revision))
                    yield _Found(view, ended.why, ended)


def _image(records: Records, service: str, revision: int) -> str:
    """The image as a kept revision names it; "" if that is gone."""
    kept = records.revisions.get((service, revision))
    return kept.spec.task.container.image if kept else ""


def _ended_view(service: str, stack: str, slot: str, ended: EndedTask, image: str) -> TaskView:
    return TaskView(
        id=ended.id,
        service=service,
        slot=slot,
        state=ended.state,
        desired="shutdown",
        stack=stack,
        node=ended.node,
        revision=ended.revision,
        image=image or ended.image,
        since=max(0.0, ended.at),
        error=ended.error,
        why=ended.why,
        exit_code=ended.exit_code,
        oom_killed=ended.oom_killed,
        log_tail=ended.log_tail,
        current=False,
    )


def _pending(records: Records) -> Iterator[TaskView]:
    """Slots of replicated services that have no task, with the reason as far as one is told."""
    taken: dict[str, set[str]] = {}
    for node, stored in records.assignments.items():
        if not _is_down(records, node):
            for task in stored.record.tasks:
                if task.desired == "running":
                    taken.setdefault(task.service, set()).add(task.slot)
    for name, held in sorted(records.services.items()):
        if not held.record.removed and held.record.mode == "replicated":
            yield from _pending_of(records, held.record, taken.get(name, set()))


def _pending_of(records: Records, service: ServiceRecord, taken: set[str]) -> Iterator[TaskView]:
    rollout = records.rollouts.get(service.name)
    revision = records.revisions.get((service.name, service.target))
    image = revision.spec.task.container.image if revision else ""
    over = _complete(rollout, revision)
    slots = _empty_slots(service, rollout, taken | over)
    texts, since = _texts(rollout), rollout.waiting if rollout else {}
    for place, slot in enumerate(slots[:PENDING_LISTED]):
        why = texts[min(place, len(texts) - 1)] if texts else "waits for a decision of the leader"
        if place == PENDING_LISTED - 1 and len(slots) > PENDING_LISTED:
            why = f"{why} (and {len(slots) - PENDING_LISTED} more slots)"
        yield TaskView(
            id="",
            service=service.name,
            slot=slot,
            state="pending",
            stack=service.stack,
            revision=service.target,
            image=image,
            since=max(0.0, since.get(slot, rollout.since)) if rollout else 0.0,
            why=why,
        )


def _empty_slots(service: ServiceRecord, rollout: RolloutRecord | None, filled: set[str]) -> list[str]:
    """The slots that have no task and need one: those that the leader names, then the lowest free numbers.

    After a scale-down the slots that are kept need not be the lowest ones.
    """
    lacking = service.replicas - len(filled)
    named = [slot for slot in rollout.waiting if slot not in filled] if rollout else []
    numbers = (str(number) for number in range(1, service.replicas + 1))
    free = [slot for slot in numbers if slot not in filled and slot not in named]
    return sorted([*named, *free][: max(0, lacking)], key=slot_key)


def _complete(rollout: RolloutRecord | None, revision: RevisionRecord | None) -> set[str]:
    """Slots that did their work with this spec: they wait for nothing."""
    if rollout is None or revision is None:
        return set()
    wanted = revision.spec.task.hash
    return {slot for slot, history in rollout.slots.items() if history.complete == wanted and not history.retired}


def _texts(rollout: RolloutRecord | None) -> list[str]:
    """One text for each slot that a reason counts, as far as they are listed."""
    if rollout is None:
        return []
    return [text for reason in rollout.reasons for text in [reason.text] * min(reason.count, PENDING_LISTED)]


def _passes(view: TaskView, wanted: ListTasks) -> bool:
    return wanted.service in ("", view.service) and wanted.stack in ("", view.stack) and wanted.node in ("", view.node)


def _lost(records: Records, node: str) -> str:
    liveness = records.liveness.get(node)
    return f"node {node} is down" + (f": {liveness.why}" if liveness and liveness.why else "")


def _lost_since(records: Records, node: str) -> float:
    """When the verdict was given: what a silent node did before, nobody knows to have changed."""
    liveness = records.liveness.get(node)
    return liveness.since if liveness else 0.0


def _is_down(records: Records, node: str) -> bool:
    verdict = records.liveness.get(node)
    return verdict is not None and verdict.verdict == "down"


def _ids(view: TaskView) -> tuple[str, str]:
    return (view.id, view.container)


def _order(view: TaskView) -> tuple[str, tuple[int, int, str], bool, float, str]:
    return (view.service, slot_key(view.slot), not view.current, -view.since, view.id)
