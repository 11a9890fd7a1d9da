"""Decisions told as events, derived from the records themselves.

Each record says why it is what it is; its events follow from it and from the one before. An event's message id is
`<key>@<sequence>` (with a suffix where one record tells several), so a new leader can tell again what the old one had
no time to: the log keeps one. Pure; `controller.teller` publishes.
"""

from __future__ import annotations

from collections.abc import Iterable

from controller.records import Records, Seen
from schemas import subjects
from schemas.assignment import AssignedTask, Assignment
from schemas.clock import iso
from schemas.events import Event
from schemas.rebalance import RebalanceRecord
from schemas.records import (
    BrakeRecord,
    EpochRecord,
    LivenessRecord,
    MeshRecord,
    NodeRecord,
    OrderRecord,
    RolloutRecord,
    ServiceRecord,
    StackRecord,
)
from schemas.stacks import StackGoodRecord

RECENT = 5.0
"""Seconds: in an assignment seen for the first time, tasks assigned that lately are news; the rest were told before."""

VERDICT_KINDS = {"ready": "node.ready", "not-ready": "node.not_ready", "down": "node.down"}


def events_of(seen: Seen, records: Records) -> tuple[Event, ...]:
    """What a change of one record is told as, in a fixed order; `records` is what stands after it."""
    at, id_ = iso(seen.at), f"{seen.key}@{seen.sequence}"
    match seen.new if seen.new is not None else seen.old:
        case ServiceRecord() as service:
            return _service(seen, service, id_, at)
        case StackRecord() as stack:
            return _stack(seen, stack, id_, at)
        case StackGoodRecord() | RebalanceRecord() as noted:
            return _noted(seen, noted, id_, at)
        case NodeRecord() as node:
            return (*_node(seen, node, id_, at), *_drained(seen, records, node.name, id_, at))
        case Assignment() as assignment:
            drained = _drained(seen, records, assignment.node, id_, at)
            return (*_assignment(seen, assignment, id_, at), *drained) if seen.new is not None else ()
        case RolloutRecord() as rollout:
            return _rollout(seen, rollout, id_, at)
        case LivenessRecord() as verdict:
            return _liveness(seen, verdict, id_, at)
        case BrakeRecord() as brake:
            return _brake(seen, brake, id_, at)
        case EpochRecord() as epoch:
            return _epoch(seen, epoch, at)
        case OrderRecord() as order:
            return _order(seen, order, id_, at)
        case MeshRecord() as mesh if seen.new is not None and mesh.generation > 1:
            return (_restored(mesh, id_, at),)
        case _:
            return ()


def _service(seen: Seen, service: ServiceRecord, id_: str, at: str) -> tuple[Event, ...]:
    kind = "service.gone" if seen.new is None else f"service.{service.change or _guess(seen.old, service)}"
    old = seen.old if isinstance(seen.old, ServiceRecord) else None
    data: dict[str, object] = {"replicas": service.replicas, "mode": service.mode, "deploy": service.deploy}
    if service.stack:
        data["stack"] = service.stack
    if old is not None and old.replicas != service.replicas:
        data["replicas_before"] = old.replicas
    cause = service.cause
    return (Event(id=id_, kind=kind, at=at, service=service.name, revision=service.target, cause=cause, data=data),)


def _guess(old: object, service: ServiceRecord) -> str:
    """The change of a record that does not say it."""
    if service.removed:
        return "removed"
    if not isinstance(old, ServiceRecord) or old.removed:
        return "created" if service.deploy == 1 else "updated"
    return "updated" if old.deploy != service.deploy else "scaled"


def _stack(seen: Seen, stack: StackRecord, id_: str, at: str) -> tuple[Event, ...]:
    removed = stack.removed
    kind = "stack.gone" if seen.new is None else f"stack.{stack.change or ('removed' if removed else 'deployed')}"
    data = {"stack": stack.name, "services": stack.services}
    return (Event(id=id_, kind=kind, at=at, revision=stack.revision, cause=stack.cause, data=data),)


def _node(seen: Seen, node: NodeRecord, id_: str, at: str) -> tuple[Event, ...]:
    kind = "node.gone" if seen.new is None else f"node.{node.change or ('removed' if node.removed else 'updated')}"
    data = {"availability": node.availability, "labels": node.labels}
    return (Event(id=id_, kind=kind, at=at, node=node.name, cause=node.cause, data=data),)


def _drained(seen: Seen, records: Records, name: str, id_: str, at: str) -> tuple[Event, ...]:
    """Told once: by whichever came last, the wish to drain the node or its last task leaving it."""
    stored, assigned = records.nodes.get(name), records.assignments.get(name)
    if stored is None or stored.record.availability != "drain" or (assigned and assigned.record.tasks):
        return ()
    was_drained = seen.old.availability == "drain" if isinstance(seen.old, NodeRecord) else False
    was_empty = not seen.old.tasks if isinstance(seen.old, Assignment) else False
    if was_drained or was_empty:
        return ()
    return (Event(id=f"{id_}/drained", kind="node.drained", at=at, node=name),)


def _assignment(seen: Seen, new: Assignment, id_: str, at: str) -> Iterable[Event]:
    before = {task.id: task for task in seen.old.tasks} if isinstance(seen.old, Assignment) else {}
    after = {task.id for task in new.tasks}
    for task in new.tasks:
        known = before.get(task.id)
        if known is None:
            if seen.old is not None or task.hold >= seen.at - RECENT:
                yield _task("task.assigned" if task.desired == "running" else "task.retired", task, new, id_, at)
        elif known.desired != task.desired:
            yield _task("task.retired", task, new, id_, at)
    for task in before.values():
        if task.id not in after and task.desired == "running":
            yield _task("task.dropped", task, new, id_, at)


def _task(kind: str, task: AssignedTask, assignment: Assignment, id_: str, at: str) -> Event:
    return Event(
        id=f"{id_}/{task.id}",
        kind=kind,
        at=at,
        node=assignment.node,
        service=task.service,
        task=task.id,
        revision=task.revision,
        epoch=assignment.epoch,
        cause=task.cause,
        why=task.why,
        data={"slot": task.slot},
    )


def _rollout(seen: Seen, rollout: RolloutRecord, id_: str, at: str) -> tuple[Event, ...]:
    old = seen.old if isinstance(seen.old, RolloutRecord) else None
    if seen.new is None or (old is not None and _stage(old) == _stage(rollout)):
        return ()
    _, _, kind = _stage(rollout)
    data = {
        "wanted": rollout.wanted,
        "running": rollout.running,
        "deploy": rollout.deploy,
        "reasons": [reason.text for reason in rollout.reasons],
    }
    return (
        Event(id=id_, kind=kind, at=at, service=rollout.service, revision=rollout.revision, why=rollout.why, data=data),
    )


_BACK = {
    "rollback_started": "rollout.rolling_back",
    "rollback_completed": "rollout.rolled_back",
    "rollback_paused": "rollout.paused",
    "paused": "rollout.paused",
}


def _stage(rollout: RolloutRecord) -> tuple[str, int, str]:
    """What makes an event when it changes, and the event's kind."""
    usual = "rollout.started" if rollout.phase == "converging" else f"rollout.{rollout.phase}"
    if rollout.update.stands:
        return (rollout.phase, rollout.deploy, "rollout.canary")
    return (rollout.phase, rollout.deploy, _BACK.get(rollout.update.state, usual))


def _liveness(seen: Seen, verdict: LivenessRecord, id_: str, at: str) -> tuple[Event, ...]:
    old = seen.old if isinstance(seen.old, LivenessRecord) else None
    if seen.new is None:
        return ()
    confirmed = verdict.ended and (old is None or not old.ended)
    if old is not None and old.verdict == verdict.verdict and not confirmed:
        return ()
    kind = "node.confirmed_dead" if confirmed else VERDICT_KINDS[verdict.verdict]
    return (Event(id=id_, kind=kind, at=at, node=verdict.node, why=verdict.why),)


def _brake(seen: Seen, brake: BrakeRecord, id_: str, at: str) -> tuple[Event, ...]:
    was = isinstance(seen.old, BrakeRecord) and seen.old.engaged
    if seen.new is None or was == brake.engaged:
        return ()
    kind = "brake.engaged" if brake.engaged else "brake.released"
    data = {"silent": list(brake.silent)}
    return (Event(id=id_, kind=kind, at=at, why=brake.why, cause=brake.released_by, data=data),)


def _epoch(seen: Seen, epoch: EpochRecord, at: str) -> tuple[Event, ...]:
    """A fence that was renewed is no news; who has not seen the takeover tells it by the same id."""
    old = seen.old if isinstance(seen.old, EpochRecord) else None
    if seen.new is None or (epoch.since and old is not None and old.nonce == epoch.nonce):
        return ()
    number = epoch.number(seen.sequence)
    kind = "leadership.taken" if epoch.holder else "leadership.handed_over"
    before = old.holder if old is not None else ""
    data = {"controller": epoch.holder or before, "before": before}
    return (Event(id=f"{seen.key}@{number}", kind=kind, at=at, epoch=number, why=epoch.why, data=data),)


def _order(seen: Seen, order: OrderRecord, id_: str, at: str) -> tuple[Event, ...]:
    kind = "order.answered" if seen.new is None else "order.given"
    data = {"order": order.kind, "by": order.by}
    return (Event(id=id_, kind=kind, at=at, node=order.node, cause=order.id, data=data),)


def _noted(seen: Seen, record: StackGoodRecord | RebalanceRecord, id_: str, at: str) -> tuple[Event, ...]:
    if seen.new is None:
        return ()
    if isinstance(record, RebalanceRecord):
        return _rebalance(seen, record, id_, at)
    if not record.good:
        return ()
    return (Event(id=id_, kind="stack.done", at=at, revision=record.good[-1], data={"stack": record.stack}),)


def _rebalance(seen: Seen, record: RebalanceRecord, id_: str, at: str) -> tuple[Event, ...]:
    """Its beginning and its end; each move is told by its tasks."""
    before = seen.old if isinstance(seen.old, RebalanceRecord) and seen.old.order == record.order else None
    begun, ended = before is None, not record.active and (before is None or before.active)
    found = []
    if begun:
        data = {"moves": len(record.moves)}
        found.append(Event(id=f"{id_}/started", kind="rebalance.started", at=at, cause=record.order, data=data))
    if ended:
        states = [each.state for each in record.moves]
        data = {"moves": len(states), "done": states.count("done"), "skipped": states.count("skipped")}
        found.append(Event(id=id_, kind="rebalance.done", at=at, cause=record.order, data=data))
    return tuple(found)


def _restored(mesh: MeshRecord, id_: str, at: str) -> Event:
    return Event(id=id_, kind="store.restored", at=at, why=mesh.why, data={"generation": mesh.generation})


def subject_of(event: Event) -> str:
    """Where a decision event is kept."""
    return subjects.event(event.kind, event.node, event.service)
