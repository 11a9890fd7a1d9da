"""What a wanted service comes to, beside the one that stands: new records, or none. Pure.

`deploy` rises only when the target is set; a changed number of replicas alone is a scale. Specs are compared with their
images pinned. The last `REVISIONS_KEPT` revisions are kept, and always those that a rollout still needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from controller.api.composition import pinned_of
from controller.records import Records
from schemas import subjects
from schemas.records import REVISIONS_KEPT, RevisionRecord, ServiceRecord
from schemas.serviceapi import Deployed, ServiceDeploy
from schemas.spec import Mode, ServiceSpec
from schemas.wire import Wire


@dataclass(frozen=True)
class Intent:
    """What becomes of one service."""

    deployed: Deployed
    records: tuple[tuple[str, Wire | None], ...] = ()
    cleared: tuple[tuple[str, Wire | None], ...] = ()
    """Old revisions that may go, if the batch has room."""


def current(records: Records, service: str) -> ServiceRecord | None:
    """The service that stands, unless it is being removed."""
    stored = records.services.get(service)
    return None if stored is None or stored.record.removed else stored.record


def current_spec(records: Records, service: str) -> ServiceSpec | None:
    """The spec that is its target."""
    record = current(records, service)
    revision = records.revisions.get((service, record.target)) if record else None
    return revision.spec if revision else None


def with_pin(spec: ServiceSpec, image_id: str) -> ServiceSpec:
    """The spec with its image pinned to `image_id`."""
    if spec.task.container.image_id == image_id:
        return spec
    container = msgspec.structs.replace(spec.task.container, image_id=image_id)
    return msgspec.structs.replace(spec, task=msgspec.structs.replace(spec.task, container=container))


def intend(records: Records, wanted: ServiceDeploy, command: str, now: float) -> Intent:
    """The records that bring `wanted` (its image pinned) about."""
    spec = wanted.spec
    old = current(records, spec.name)
    replicas = wanted.replicas if wanted.replicas is not None else (old.replicas if old is not None else 1)
    if old is None:
        return _new(records, spec, replicas, command, now)
    same = current_spec(records, spec.name) == spec
    if same and not has_failed(records, old):
        if replicas == old.replicas or spec.mode == "global":
            return Intent(_deployed(old, "unchanged", spec))
        scaled = msgspec.structs.replace(old, replicas=replicas, change="scaled", cause=command, updated_at=now)
        return Intent(_deployed(scaled, "scaled", spec), ((subjects.service_key(spec.name), scaled),))
    record = msgspec.structs.replace(
        old,
        mode=spec.mode,
        stack=spec.stack,
        target=old.target if same else _next_number(records, spec.name, old.target),
        replicas=replicas,
        deploy=old.deploy + 1,
        back_from=0,
        canary=spec.canary if wanted.canary is None else wanted.canary,
        change="updated",
        cause=command,
        updated_at=now,
    )
    return _with_revision(records, record, spec, now, write=not same)


def going_back(record: ServiceRecord, number: int, mode: Mode, command: str, now: float) -> ServiceRecord:
    """The service with an older revision (or, from there, a newer one) as its target."""
    return msgspec.structs.replace(
        record,
        mode=mode,
        target=number,
        deploy=record.deploy + 1,
        back_from=record.target if number < record.target else 0,
        canary=0,
        change="rolled_back",
        cause=command,
        updated_at=now,
    )


def has_failed(records: Records, record: ServiceRecord) -> bool:
    """Whether the rollout of its target was given up."""
    rollout = records.rollouts.get(record.name)
    return rollout is not None and rollout.deploy == record.deploy and rollout.phase == "failed"


def deployed_of(records: Records, service: str, change: str) -> Deployed:
    """What became of a service that stands, in words already known."""
    record = records.services[service].record
    revision = records.revisions.get((service, record.target))
    image_id = revision.spec.task.container.image_id if revision else ""
    return Deployed(service=service, change=change, revision=record.target, deploy=record.deploy, image_id=image_id)


def _new(records: Records, spec: ServiceSpec, replicas: int, command: str, now: float) -> Intent:
    stored = records.services.get(spec.name)
    before = stored.record if stored else None
    record = ServiceRecord(
        name=spec.name,
        mode=spec.mode,
        stack=spec.stack,
        target=_next_number(records, spec.name, before.target if before else 0),
        replicas=replicas,
        deploy=before.deploy + 1 if before else 1,
        change="created",
        cause=command,
        created_at=now,
        updated_at=now,
    )
    return _with_revision(records, record, spec, now, write=True)


def _with_revision(records: Records, record: ServiceRecord, spec: ServiceSpec, now: float, *, write: bool) -> Intent:
    written: list[tuple[str, Wire | None]] = [(subjects.service_key(record.name), record)]
    if write:
        revision = RevisionRecord(number=record.target, spec=spec, created_at=now, cause=record.cause)
        written.append((subjects.revision_key(record.name, record.target), revision))
    cleared = [(subjects.revision_key(record.name, number), None) for number in _superseded(records, record)]
    return Intent(_deployed(record, record.change, spec), tuple(written), tuple(cleared))


def _superseded(records: Records, record: ServiceRecord) -> Sequence[int]:
    rollout = records.rollouts.get(record.name)
    needed = {record.target, record.back_from, *pinned_of(records, record.stack, record.name)}
    if rollout is not None:
        needed |= {rollout.revision, rollout.good, rollout.update.left}
    kept = [number for number in records.revisions_of(record.name) if number != record.target]
    return [number for number in kept[: max(0, len(kept) - (REVISIONS_KEPT - 1))] if number not in needed]


def _next_number(records: Records, service: str, target: int) -> int:
    return max([target, *records.revisions_of(service)]) + 1


def _deployed(record: ServiceRecord, change: str, spec: ServiceSpec) -> Deployed:
    return Deployed(
        service=record.name,
        change=change,
        revision=record.target,
        deploy=record.deploy,
        image_id=spec.task.container.image_id,
    )
