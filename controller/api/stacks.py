"""stack.deploy, stack.remove, stack.list: services deployed as one, in one atomic batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from bus.commits import BATCH_MESSAGES
from controller.api.checks import check_stack, warnings_for
from controller.api.composition import Change, Composed, compose, members_of, standing
from controller.api.dependents import dragged
from controller.api.desk import Desk, Draft, not_found
from controller.api.foundations import moved_on
from controller.api.intent import Intent, current, deployed_of, intend
from controller.api.networks import check_attached, forgotten, gone, stack_networks
from controller.api.pinning import pin_all
from schemas import subjects
from schemas.errors import Conflict
from schemas.records import ServiceRecord
from schemas.requests import Ask, Written
from schemas.serviceapi import DeployAnswer, Deployed, ServiceDeploy
from schemas.stackapi import DeployStack, RemoveStack, StackList, StackView
from schemas.stacks import StackMember
from schemas.wire import Wire


@dataclass(frozen=True)
class StackDraft:
    """What a deploy comes to."""

    services: tuple[Deployed, ...]
    wanted: tuple[ServiceDeploy, ...]
    """What each of these is to be."""
    pruned: tuple[str, ...]
    records: tuple[tuple[str, Wire | None], ...]


async def deploy(desk: Desk, request: DeployStack) -> DeployAnswer:
    """Bring the whole stack about; what is unchanged is not written."""
    check_stack(request.stack, request.services)
    await desk.catch_up()
    if (done := _deployed_before(desk, request)) is not None:
        return done
    _check_expected(desk, request)
    pinned, warnings = await prepare_stack(desk, request)
    command, now = desk.command(request.command), desk.clock.wall()

    async def draft() -> Draft[DeployAnswer]:
        if (done := _deployed_before(desk, request)) is not None:
            return Draft(done)
        _check_expected(desk, request)
        made = draft_stack(desk, request, pinned, command, now)
        answer = DeployAnswer(sequence=0, services=made.services, pruned=made.pruned, warnings=tuple(warnings))
        return Draft(answer, made.records)

    answer, sequence = await desk.write(draft)
    return msgspec.structs.replace(answer, sequence=sequence)


async def prepare_stack(desk: Desk, request: DeployStack) -> tuple[list[ServiceDeploy], list[str]]:
    """The services with their images pinned, and warnings. Raises what keeps the stack from being deployed."""
    check_stack(request.stack, request.services)
    for each in request.services:
        _check_owner(desk, request.stack, each.spec.name)
    check_attached(desk.records, [each.spec for each in request.services], [each.name for each in request.networks])
    pinned, warnings = await pin_all(desk, request.services, request.resolve_image)
    for each in pinned:
        warnings += warnings_for(each.spec, desk.records, desk.mirror.observations)
    return pinned, warnings


def draft_stack(desk: Desk, request: DeployStack, pinned: list[ServiceDeploy], command: str, now: float) -> StackDraft:
    """The records that bring the stack about, as things stand."""
    for each in pinned:
        _check_owner(desk, request.stack, each.spec.name)
    pruned = _pruned(desk, request, pinned)
    everyone = dragged(desk.records, pinned, pruned)
    intents = [intend(desk.records, each, command, now) for each in everyone]
    records: list[tuple[str, Wire | None]] = [record for intent in intents for record in intent.records]
    records += [(subjects.service_key(name), removed(desk, name, command, now)) for name in pruned]
    composed = _composed(desk, intents, everyone, pruned, Change(command, now), request.stack)
    records += composed.records if composed is not None else ()
    records += stack_networks(desk, request.stack, request.networks, command, now)
    cleared = [record for intent in intents for record in intent.cleared]
    cleared += composed.cleared if composed is not None else ()
    cleared += forgotten(desk.records, now)
    records += cleared[: max(0, BATCH_MESSAGES - len(records))]
    return StackDraft(tuple(intent.deployed for intent in intents), tuple(everyone), tuple(pruned), tuple(records))


def _check_expected(desk: Desk, request: DeployStack) -> None:
    """Raises Conflict: what the plan rests on has moved on."""
    if request.expected and (moved := moved_on(desk.records, request.expected, request)):
        raise Conflict(
            f"the mesh has moved on since the plan was made: {'; '.join(moved)}", hint="make it anew: meshctl plan"
        )


async def remove(desk: Desk, request: RemoveStack) -> Written:
    """Mark the stack and all its services removed. Raises NotFound."""
    command, now = desk.command(request.command), desk.clock.wall()

    known = False

    async def draft() -> Draft[None]:
        nonlocal known
        # Not before: this controller may only just have seen what another one did for the same command.
        known = known or (bool(request.command) and request.command in _causes(desk, request.stack))
        stored = desk.records.stacks.get(request.stack)
        services = services_of(desk, request.stack)
        if not known and (stored is None or stored.record.removed) and not services:
            raise not_found("stack", request.stack, [view.stack for view in _views(desk)])
        known = True
        records: list[tuple[str, Wire | None]] = []
        if stored is not None and not stored.record.removed:
            tombstone = msgspec.structs.replace(
                stored.record, removed=True, services={}, change="removed", cause=command, updated_at=now
            )
            records.append((subjects.stack_key(request.stack), tombstone))
        records += [(subjects.service_key(name), removed(desk, name, command, now)) for name in services]
        records += [
            (subjects.network_key(name), gone(stored.record, command, now))
            for name, stored in sorted(desk.records.networks.items())
            if stored.record.stack == request.stack and not stored.record.removed
        ]
        return Draft(None, tuple(records[:BATCH_MESSAGES]))

    _, sequence = await desk.write(draft)
    await desk.catch_up()
    while services_of(desk, request.stack):  # more than one batch holds
        _, sequence = await desk.write(draft)
        await desk.catch_up()
    return Written(sequence=sequence)


async def list_all(desk: Desk, request: Ask) -> StackList:
    """All stacks that stand, by name."""
    await desk.ready_to_read(request)
    return StackList(stacks=tuple(_views(desk)))


def services_of(desk: Desk, stack: str) -> list[str]:
    """The services of a stack that are not being removed, by name."""
    found = desk.records.services.items()
    return sorted(name for name, stored in found if stored.record.stack == stack and not stored.record.removed)


def removed(desk: Desk, service: str, command: str, now: float) -> ServiceRecord:
    """A service's tombstone."""
    record = desk.records.services[service].record
    return msgspec.structs.replace(record, removed=True, change="removed", cause=command, updated_at=now)


def _deployed_before(desk: Desk, request: DeployStack) -> DeployAnswer | None:
    """The answer to a command that comes again, with its work done: the stack's record is in the same batch."""
    stored = desk.records.stacks.get(request.stack)
    command = request.command
    if stored is None or stored.record.removed or not command or stored.record.cause != command:
        return None
    found = {name: each.record for name, each in desk.records.services.items()}
    names = [each.spec.name for each in request.services if each.spec.name in found]
    changes = {name: found[name].change if found[name].cause == command else "unchanged" for name in names}
    return DeployAnswer(
        sequence=stored.sequence,
        services=tuple(deployed_of(desk.records, name, change) for name, change in changes.items()),
        pruned=tuple(sorted(name for name, record in found.items() if record.removed and record.cause == command)),
    )


def _causes(desk: Desk, stack: str) -> set[str]:
    """The commands that removed a stack, or some of its services."""
    stored = desk.records.stacks.get(stack)
    causes = {stored.record.cause} if stored is not None and stored.record.removed else set()
    services = (each.record for each in desk.records.services.values())
    return causes | {record.cause for record in services if record.stack == stack and record.removed}


def _check_owner(desk: Desk, stack: str, service: str) -> None:
    """Raises Conflict: the name belongs to somebody else."""
    record = current(desk.records, service)
    if record is not None and record.stack != stack:
        whose = f"belongs to stack {record.stack}" if record.stack else "was made without a stack"
        raise Conflict(f"service {service} exists and {whose}", hint="choose another name, or remove that service")


def _pruned(desk: Desk, request: DeployStack, wanted: list[ServiceDeploy]) -> list[str]:
    named = {each.spec.name for each in wanted}
    return [name for name in services_of(desk, request.stack) if name not in named] if request.prune else []


def _composed(
    desk: Desk,
    intents: list[Intent],
    wanted: list[ServiceDeploy],
    pruned: list[str],
    change: Change,
    stack: str,
) -> Composed | None:
    """The stack's next revision; None: it stands like that already."""
    before = members_of(desk.records, stack)
    members = {name: member for name, member in before.items() if name not in pruned}
    for intent, each in zip(intents, wanted, strict=True):
        if each.spec.stack != stack:
            continue
        name, revision = intent.deployed.service, intent.deployed.revision
        old = current(desk.records, name)
        replicas = each.replicas if each.replicas is not None else old.replicas if old is not None else 1
        members[name] = StackMember(revision=revision, replicas=replicas)
    unchanged = all(intent.deployed.change == "unchanged" for intent in intents)
    if standing(desk.records, stack) is not None and unchanged and _revisions(members) == _revisions(before):
        return None
    return compose(desk.records, stack, members, change)


def _revisions(members: Mapping[str, StackMember]) -> dict[str, int]:
    return {name: member.revision for name, member in members.items()}


def _views(desk: Desk) -> list[StackView]:
    stacks = sorted(desk.records.stacks.items())
    return [
        StackView(stack=name, revision=stored.record.revision, services=stored.record.services)
        for name, stored in stacks
        if not stored.record.removed
    ]
