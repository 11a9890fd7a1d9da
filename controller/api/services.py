"""service.put, service.scale, service.remove, service.list, service.inspect."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bus.commits import BATCH_MESSAGES
from controller import views
from controller.api.checks import REPLICAS_LIMIT, check_service, warnings_for
from controller.api.composition import Change, compose, in_its_stack, members_of
from controller.api.dependents import check_circles, dragged, members_made
from controller.api.desk import Desk, Draft, not_found
from controller.api.intent import Intent, current, current_spec, deployed_of, intend
from controller.api.networks import check_attached
from controller.api.pinning import pin_all
from controller.api.stacks import removed
from schemas import subjects
from schemas.errors import Conflict, Refused
from schemas.records import ServiceRecord
from schemas.requests import Written
from schemas.serviceapi import (
    DeployAnswer,
    InspectService,
    ListServices,
    PutService,
    RemoveServices,
    ScaleServices,
    ServiceDeploy,
    ServiceList,
    ServiceView,
)
from schemas.spec import ServiceSpec
from schemas.stacks import StackMember
from schemas.wire import Wire

NAMES_AT_ONCE = BATCH_MESSAGES // 2


async def put(desk: Desk, request: PutService) -> DeployAnswer:
    """Create or update one service. Raises Conflict, NotFound, Refused, ImageUnavailable."""
    check_service(request.service)
    await desk.catch_up()
    if (done := _put_before(desk, request)) is not None:
        return done
    _check_put(desk, request)
    check_attached(desk.records, [request.service.spec], ())
    check_circles([request.service.spec, *_others(desk, request.service.spec.name)])
    (wanted,), warnings = await pin_all(desk, [request.service], request.resolve_image)
    warnings += warnings_for(wanted.spec, desk.records, desk.mirror.observations)
    command, now = desk.command(request.command), desk.clock.wall()

    async def draft() -> Draft[DeployAnswer]:
        if (done := _put_before(desk, request)) is not None:
            return Draft(done)
        _check_put(desk, request)
        intents = [intend(desk.records, each, command, now) for each in dragged(desk.records, [wanted])]
        deployed = tuple(intent.deployed for intent in intents)
        answer = DeployAnswer(sequence=0, services=deployed, warnings=tuple(warnings))
        records = [record for intent in intents for record in intent.records]
        if not records:
            return Draft(answer)
        records += _of_its_stack(desk, wanted, intents, command, now)
        return Draft(answer, (*records, *(record for intent in intents for record in intent.cleared)))

    answer, sequence = await desk.write(draft, pinned=request.expected is not None)
    return msgspec.structs.replace(answer, sequence=sequence)


async def scale(desk: Desk, request: ScaleServices) -> Written:
    """Set replicas. Raises NotFound, Refused (a global service, too many)."""
    command, now = desk.command(request.command), desk.clock.wall()
    _check_count(len(request.replicas))

    async def draft() -> Draft[None]:
        records: list[tuple[str, Wire | None]] = []
        for name, replicas in sorted(request.replicas.items()):
            record = _existing(desk, name)
            if record.mode == "global":
                raise Refused(f"service {name} is global: it has a task on every fitting node and can't be scaled")
            if replicas > REPLICAS_LIMIT:
                raise Refused(f"service {name}: {replicas:,} replicas, at most {REPLICAS_LIMIT:,} are allowed")
            if replicas != record.replicas:
                scaled = msgspec.structs.replace(
                    record, replicas=replicas, change="scaled", cause=command, updated_at=now
                )
                records.append((subjects.service_key(name), scaled))
        return Draft(None, tuple(records))

    _, sequence = await desk.write(draft)
    return Written(sequence=sequence)


async def remove(desk: Desk, request: RemoveServices) -> Written:
    """Mark services removed, in their stacks, too. Raises NotFound, and then removes none."""
    command, now = desk.command(request.command), desk.clock.wall()
    _check_count(len(request.services))

    async def draft() -> Draft[None]:
        names = sorted(set(request.services))
        if any(_removed_by(desk, name, request.command) for name in names):
            return Draft(None)  # in one batch: all of them
        owners = {name: _existing(desk, name).stack for name in names}
        records: list[tuple[str, Wire | None]] = [
            (subjects.service_key(name), removed(desk, name, command, now)) for name in names
        ]
        for stack in sorted(set(owners.values()) & set(desk.records.stacks)):
            members = members_of(desk.records, stack)
            left = {name: member for name, member in members.items() if name not in owners}
            composed = compose(desk.records, stack, left, Change(command, now, "changed"))
            records += [*composed.records, *composed.cleared]
        return Draft(None, tuple(records))

    _, sequence = await desk.write(draft)
    return Written(sequence=sequence)


async def list_all(desk: Desk, request: ListServices) -> ServiceList:
    """Services that stand, by name."""
    await desk.ready_to_read(request)
    if request.stack and request.stack not in _stacks(desk):
        raise not_found("stack", request.stack, sorted(_stacks(desk)))
    return views.service_list(desk.records, desk.mirror.observations, request.stack)


async def inspect(desk: Desk, request: InspectService) -> ServiceView:
    """One service. Raises NotFound."""
    await desk.ready_to_read(request)
    _existing(desk, request.service)
    return views.service_view(desk.records, desk.mirror.observations, request.service)


def _stacks(desk: Desk) -> set[str]:
    standing = {name for name, stored in desk.records.stacks.items() if not stored.record.removed}
    return standing | {stored.record.stack for stored in desk.records.services.values() if not stored.record.removed}


def _existing(desk: Desk, name: str) -> ServiceRecord:
    record = current(desk.records, name)
    if record is None:
        standing = [each for each, stored in desk.records.services.items() if not stored.record.removed]
        raise not_found("service", name, standing)
    return record


def _of_its_stack(
    desk: Desk, wanted: ServiceDeploy, intents: Sequence[Intent], command: str, now: float
) -> list[tuple[str, Wire | None]]:
    """The records of the stack whose service (the first of `intents`) has got another revision."""
    before, number = current(desk.records, wanted.spec.name), intents[0].deployed.revision
    if before is None or before.target == number:
        return []
    members = {before.name: StackMember(revision=number, replicas=wanted.replicas or before.replicas)}
    members |= members_made(desk.records, intents[1:])
    return in_its_stack(desk.records, before, members, Change(command, now, "changed"))


def _put_before(desk: Desk, request: PutService) -> DeployAnswer | None:
    """The answer to a command that comes again, with its work done."""
    stored = desk.records.services.get(request.service.spec.name)
    if stored is None or stored.record.removed or not request.command or stored.record.cause != request.command:
        return None
    deployed = deployed_of(desk.records, request.service.spec.name, stored.record.change)
    return DeployAnswer(sequence=stored.sequence, services=(deployed,))


def _others(desk: Desk, name: str) -> list[ServiceSpec]:
    specs = (current_spec(desk.records, other) for other in sorted(desk.records.services) if other != name)
    return [spec for spec in specs if spec is not None and spec.depends_on]


def _removed_by(desk: Desk, name: str, command: str) -> bool:
    stored = desk.records.services.get(name)
    return stored is not None and stored.record.removed and bool(command) and stored.record.cause == command


def _check_put(desk: Desk, request: PutService) -> None:
    name = request.service.spec.name
    stored = desk.records.services.get(name)
    if request.create is False:
        _existing(desk, name)
    if request.create and current(desk.records, name) is not None:
        raise Conflict(f"service {name} exists already", hint=f"to change it: meshctl service update {name}")
    record = current(desk.records, name)
    if record is not None and record.stack != request.service.spec.stack:
        whose = f"belongs to stack {record.stack}" if record.stack else "was made without a stack"
        raise Conflict(f"service {name} exists and {whose}")
    sequence = stored.sequence if stored is not None else 0
    if request.expected is not None and request.expected != sequence:
        raise Conflict(f"service {name} has changed since: it is at {sequence}, not at {request.expected}")


def _check_count(count: int) -> None:
    if not count:
        raise Refused("no service is named")
    if count > NAMES_AT_ONCE:
        raise Refused(f"{count} services at once, at most {NAMES_AT_ONCE}")
