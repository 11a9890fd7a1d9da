"""Intent, rebuilt from what agents obey where a backup is older or there is none. Pure.

An assignment holds each task's whole spec, so a service's tasks tell its newest revision and its slots. What only the
service record knew (update policy, labels of the service) is taken from the last revision that the backup has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from meshctl.evidence import Known, Running, Seen, running_services
from meshctl.rebuilding_progress import completed
from schemas import subjects
from schemas.assignment import Assignment
from schemas.records import RevisionRecord, ServiceRecord, StackRecord
from schemas.spec import ServiceSpec, TaskSpec
from schemas.wire import Wire


@dataclass
class Rebuilt:
    """Key -> (record, why); and what could not be."""

    records: dict[str, tuple[Wire, str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    over: set[str] = field(default_factory=set)
    """Keys of the backup that belong to what is no more."""


def rebuilt_services(
    known: Known,
    held: Iterable[Assignment],
    silent: frozenset[str],
    now: float,
    seen: Seen | None = None,
    up: Mapping[str, float] | None = None,
) -> Rebuilt:
    """What the agents' assignments show to be newer than the backup. `silent`: nodes that do not answer. `up`: as in
    `Running`."""
    rebuilt = Rebuilt()
    stand_ins = [each for node, each in known.assignments.items() if node in silent]
    held = list(held)
    asked = frozenset(each.node for each in held)
    found = running_services(held, silent=stand_ins, complete=not silent, seen=seen, known=known, up=up)
    for name in sorted((seen or {}).keys() - found.keys() - known.services.keys()):
        lost = f"service {name}: only nodes that are silent now ran it, so its spec is not known here"
        rebuilt.warnings.append(f"{lost}; bring them back and do this again, or deploy it anew")
    for name, running in found.items():
        service = known.services.get(name)
        if service is None or _deployed_anew(service, running, known):
            _new_service(rebuilt, name, running, known, now)
        elif service.removed:
            continue  # it was being removed already
        else:
            _newer_service(rebuilt, service, running, known, asked, now)
    _stacks(rebuilt, known.stacks, now)
    return rebuilt


def _deployed_anew(service: ServiceRecord, running: Running, known: Known) -> bool:
    """Whether it was removed since the backup, or was about to be, and is another one of that name now.

    Its revisions are counted from 1 again: that number may be known, as another spec.
    """
    number, made_since = running.newest.revision, not known.knows(running.tasks)
    if service.removed:
        return made_since
    of_number = _spec_of(known, service.name, number)
    if of_number is not None:
        return of_number != running.spec
    return number < service.target and made_since


def _spec_of(known: Known, name: str, number: int) -> TaskSpec | None:
    spec = _service_spec(known, name, number)
    return spec.task if spec is not None else None


def _service_spec(known: Known, name: str, number: int) -> ServiceSpec | None:
    revision = known.revisions.get((name, number))
    return revision.spec if revision is not None else None


def _new_service(rebuilt: Rebuilt, name: str, running: Running, known: Known, now: float) -> None:
    task, before = running.newest, known.services.get(name)
    spec = ServiceSpec(name=name, stack=task.stack, mode=running.mode, task=running.spec)
    came = "not in the backup" if before is None else "deployed anew since the backup"
    why = f"{came}; rebuilt from {running.slots} slots on {', '.join(running.nodes)}"
    record = ServiceRecord(
        name=name,
        mode=running.mode,
        stack=task.stack,
        target=task.revision,
        replicas=running.slots if running.mode == "replicated" else 1,
        deploy=before.deploy + 1 if before is not None else 1,
        change="created",
        created_at=max(0.0, now),
        updated_at=max(0.0, now),
    )
    if before is not None:
        rebuilt.over.add(subjects.rollout_key(name))
    if _spec_of(known, name, task.revision) != running.spec:
        _put_revision(rebuilt, name, task.revision, spec, why, now)
        rebuilt.warnings.append(_lost(name))
    record = _as_far_as_it_came(rebuilt, record, running, known, now)
    rebuilt.records[subjects.service_key(name)] = (record, why)


def _as_far_as_it_came(
    rebuilt: Rebuilt, record: ServiceRecord, running: Running, known: Known, now: float
) -> ServiceRecord:
    """A deploy that only some slots have: the others keep their tasks, for nobody here knows if they were to get it.

    It was a canary, a deploy under way, or one that failed: it stands as a canary, to be promoted or aborted. What the
    others run has to be in the store for that.
    """
    name, canary = record.name, running.reached
    for task in sorted(running.tasks, key=lambda task: task.revision) if canary else ():
        key, spec = subjects.revision_key(name, task.revision), running.specs[task.spec]
        if key not in rebuilt.records and _spec_of(known, name, task.revision) != spec:
            plain = ServiceSpec(name=name, stack=record.stack, mode=record.mode, task=spec)
            _put_revision(rebuilt, name, task.revision, plain, f"not in the backup; {task.id} runs it", now)
    if canary:
        slots = f"{canary} of {len({task.slot for task in running.tasks})} slots"
        rebuilt.warnings.append(
            f"service {name}: {slots} run revision {record.target}, the others keep what they run: "
            f"meshctl service promote {name}, or abort {name}"
        )
    return msgspec.structs.replace(record, canary=canary, back_from=0)


def _lost(name: str) -> str:
    return f"service {name}: labels and update policy are lost; deploy its stack again to have them back"


def _newer_service(
    rebuilt: Rebuilt, service: ServiceRecord, running: Running, known: Known, asked: frozenset[str], now: float
) -> None:
    why, record = [], service
    number = running.newest.revision
    spec = _service_spec(known, service.name, number)
    last = known.revisions.get((service.name, service.target))
    plain = ServiceSpec(name=service.name, stack=service.stack, mode=service.mode, task=running.spec)
    if number == service.target and last is None:
        shown = f"not in the backup; {running.newest.id} runs it"
        _put_revision(rebuilt, service.name, number, plain, shown, now)
        rebuilt.warnings.append(_lost(service.name))
    if _went_on(service, running, known):
        why.append("was paused in the backup, and has gone on since")
        record = msgspec.structs.replace(record, paused=False, change="resumed")
    if number > service.target:
        spec = msgspec.structs.replace(last.spec, task=running.spec) if last is not None else plain
        why.append(f"runs revision {number}, the backup wants {service.target}")
        _put_revision(rebuilt, service.name, number, spec, why[-1], now)
        record = msgspec.structs.replace(record, target=number, deploy=record.deploy + 1, change="updated")
        record = _as_far_as_it_came(rebuilt, record, running, known, now)
    elif _went_back(service, running, known, asked):
        why.append(f"runs revision {number} again, the backup wants {service.target}")
        record = msgspec.structs.replace(
            record, target=number, deploy=record.deploy + 1, back_from=service.target, canary=0, change="rolled_back"
        )
    if service.mode == "replicated" and running.slots > service.replicas:
        why.append(f"has {running.slots} slots, the backup wants {service.replicas}")
        record = msgspec.structs.replace(record, replicas=running.slots, change=record.change or "scaled")
    if why:
        record = msgspec.structs.replace(record, updated_at=max(0.0, now))
        rebuilt.records[subjects.service_key(service.name)] = (record, "; ".join(why))
    if record.deploy > service.deploy and (done := completed(record, spec, running, known, now)) is not None:
        shown = f"all slots have been up with revision {number} for longer than an update is watched"
        rebuilt.records[subjects.rollout_key(service.name)] = (done, shown)


def _went_back(service: ServiceRecord, running: Running, known: Known, asked: Iterable[str]) -> bool:
    """Whether nodes that ran the backup's revision run an earlier one now: it would be tried again everywhere."""
    number, progress = running.newest.revision, known.rollouts.get(service.name)
    if number >= service.target or not known.ran(service.name, service.target, asked):
        return False
    held_there = progress is not None and progress.deploy == service.deploy and progress.revision == number
    return not held_there


def _went_on(service: ServiceRecord, running: Running, known: Known) -> bool:
    """Whether a paused service has more, or a later revision, than it is held at: it would be taken back to that.

    It is held at what its progress says; without any, at nothing.
    """
    if not service.paused:
        return False
    held_at = known.rollouts.get(service.name)
    if held_at is None or running.newest.revision > held_at.revision:
        return True
    return service.mode == "replicated" and running.slots > held_at.replicas


def _put_revision(rebuilt: Rebuilt, name: str, number: int, spec: ServiceSpec, why: str, now: float) -> None:
    record = RevisionRecord(number=number, spec=spec, created_at=max(0.0, now))
    rebuilt.records[subjects.revision_key(name, number)] = (record, why)


def _stacks(rebuilt: Rebuilt, stacks: Mapping[str, StackRecord], now: float) -> None:
    """Stacks whose services have changed."""
    changed = {record.name: record for record, _ in rebuilt.records.values() if isinstance(record, ServiceRecord)}
    for stack in sorted({record.stack for record in changed.values()} - {""}):
        mine = {name: record.target for name, record in sorted(changed.items()) if record.stack == stack}
        before = stacks.get(stack) or StackRecord(name=stack, revision=0)
        record = msgspec.structs.replace(
            before,
            revision=before.revision + 1,
            services={**before.services, **mine},
            removed=False,
            change="deployed",
            updated_at=max(0.0, now),
        )
        rebuilt.records[subjects.stack_key(stack)] = (record, f"holds {', '.join(mine)}")


def shortfalls(services: Mapping[str, ServiceRecord], held: Iterable[Assignment]) -> list[str]:
    """What a backup taken at its word will change about what runs."""
    told = []
    for name, running in running_services(held).items():
        service = services.get(name)
        if service is None:
            told.append(f"service {name} is not in the backup: its {running.slots} tasks run on, and nobody minds them")
        elif service.removed:
            told.append(f"service {name} was being removed: its tasks are ended")
        else:
            told += _differences(service, running)
    return told


def _differences(service: ServiceRecord, running: Running) -> Iterable[str]:
    number = running.newest.revision
    if number > service.target:
        yield f"service {service.name} runs revision {number}, the backup wants {service.target}: tasks are replaced"
    if service.mode == "replicated" and running.slots > service.replicas:
        slots = f"{running.slots} slots, the backup wants {service.replicas}"
        yield f"service {service.name} has {slots}: {running.slots - service.replicas} are ended"
