"""stack.history, stack.rollback: the numbered past of a whole stack, and going back to it in one atomic batch.

Going back makes the stack what the older revision was: services that it did not have are removed, those that it had
and that are gone are brought back, the others get the revision they had. Replicas that somebody has changed by a scale
since the last deploy stay; others become what they were. Networks stay.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from bus.commits import BATCH_MESSAGES
from controller.api.composition import Change, compose, last_good, members_of, standing
from controller.api.desk import Desk, Draft, not_found
from controller.api.intent import current, going_back, has_failed
from controller.api.networks import check_attached
from controller.api.stacks import removed
from controller.records import Records
from schemas import subjects
from schemas.errors import Conflict, NotFound, Refused
from schemas.records import RevisionRecord, ServiceRecord, StackRecord
from schemas.serviceapi import Deployed
from schemas.spec import ServiceSpec
from schemas.stackapi import GetStackHistory, RollbackStack, StackHistory, StackRevisionView, StackRolledBack
from schemas.stacks import StackMember
from schemas.wire import Wire


@dataclass
class _Way:
    """What going back comes to, while it is gathered."""

    records: list[tuple[str, Wire | None]] = field(default_factory=list)
    services: list[Deployed] = field(default_factory=list)
    targets: dict[str, int] = field(default_factory=dict)
    replicas: dict[str, int] = field(default_factory=dict)


async def history(desk: Desk, request: GetStackHistory) -> StackHistory:
    """The kept revisions of a stack, newest first. Raises NotFound."""
    await desk.ready_to_read(request)
    record, kept = _existing(desk, request.stack), desk.records.stack_revisions_of(request.stack)
    noted, last = desk.records.stack_good.get(request.stack), last_good(desk.records, request.stack)
    for number in request.specs:
        if number not in kept:
            raise _not_kept(desk.records, request.stack, number)
    revisions = desk.records.stack_revisions
    views = (
        StackRevisionView(
            number=number,
            services=revisions[request.stack, number].services,
            created_at=revisions[request.stack, number].created_at,
            cause=revisions[request.stack, number].cause,
            target=number == record.revision,
            good=noted is not None and number in noted.good,
            last_good=number == last,
            specs=_specs(desk.records, request.stack, number) if number in request.specs else {},
        )
        for number in reversed(kept)
    )
    return StackHistory(stack=request.stack, revisions=tuple(views))


async def rollback(desk: Desk, request: RollbackStack) -> StackRolledBack:
    """Make an older revision of the stack its target.

    Raises:
        NotFound: there is no such stack or revision.
        Conflict: a service of it belongs to another stack now.
        Refused: there is nothing to go back to, or a part of the revision is not kept.
    """
    command, now = desk.command(request.command), desk.clock.wall()

    async def draft() -> Draft[StackRolledBack]:
        return draft_rollback(desk, request, command, now)

    if request.preview:
        await desk.catch_up()
        return (await draft()).answer
    answer, sequence = await desk.write(draft)
    return msgspec.structs.replace(answer, sequence=sequence)


def draft_rollback(desk: Desk, request: RollbackStack, command: str, now: float) -> Draft[StackRolledBack]:
    """The writes that go back, and the answer."""
    records, stack = desk.records, _existing(desk, request.stack)
    if request.command and stack.cause == request.command:  # asked once more, and done already
        return Draft(_done_before(records, stack))
    number = _goal(records, request, stack)
    if (stack.name, number) not in records.stack_revisions:
        raise _not_kept(records, stack.name, number)
    members = records.stack_revisions[stack.name, number].services
    specs = _specs(records, stack.name, number)
    check_attached(records, specs.values(), ())
    way, before = _Way(), members_of(records, stack.name)
    for name, member in sorted(members.items()):
        _bring_back(records, way, name, (member, before.get(name)), (stack.name, command, now))
    standing_now = {name for name, each in records.services.items() if each.record.stack == stack.name}
    gone = sorted(name for name in standing_now - members.keys() if current(records, name) is not None)
    way.records += [(subjects.service_key(name), removed(desk, name, command, now)) for name in gone]
    if way.records or number != stack.revision:
        composed = compose(records, stack.name, members, Change(command, now, "rolled_back"), revision=number)
        way.records += composed.records
        way.records += composed.cleared[: max(0, BATCH_MESSAGES - len(way.records))]
    answer = StackRolledBack(
        sequence=0,
        services=tuple(way.services),
        pruned=tuple(gone),
        revision=number,
        before=stack.revision,
        targets=way.targets,
        replicas=way.replicas,
    )
    return Draft(answer, tuple(way.records))


def _goal(records: Records, request: RollbackStack, stack: StackRecord) -> int:
    """Where it goes. Raises Refused: nowhere."""
    if request.to:
        return request.to
    hint = f"meshctl stack history {stack.name} shows what is kept"
    good = last_good(records, stack.name, but=0 if request.last_good else stack.revision)
    if request.last_good and not good:
        raise Refused(f"no kept revision of stack {stack.name} has come up as a whole", hint=hint)
    older = [number for number in records.stack_revisions_of(stack.name) if number < stack.revision]
    if good and (request.last_good or good < stack.revision):
        return good
    if not older:
        raise Refused(f"stack {stack.name} has no revision before {stack.revision}", hint=hint)
    return older[-1]


def _bring_back(
    records: Records,
    way: _Way,
    name: str,
    member: tuple[StackMember, StackMember | None],
    order: tuple[str, str, float],
) -> None:
    """One service of the older revision. `member`: as it was then, and as the stack has it now."""
    (then, now_there), (stack, command, now) = member, order
    record, spec = current(records, name), records.revisions[name, then.revision].spec
    if record is None:
        stored = records.services.get(name)
        fresh = ServiceRecord(
            name=name,
            mode=spec.mode,
            stack=stack,
            target=then.revision,
            replicas=then.replicas,
            deploy=stored.record.deploy + 1 if stored is not None else 1,
            change="created",
            cause=command,
            created_at=now,
            updated_at=now,
        )
        _note(way, fresh, "created")
        return
    if record.stack != stack:
        raise Conflict(f"service {name} belongs to {record.stack or 'no stack'} now", hint="remove or rename that one")
    way.targets[name] = record.target
    deployed = now_there.replicas if now_there is not None else record.replicas
    replicas = then.replicas if record.replicas == deployed else record.replicas
    if replicas != record.replicas and spec.mode != "global":
        way.replicas[name] = replicas
    if then.revision != record.target or has_failed(records, record):
        back = going_back(record, then.revision, spec.mode, command, now)
        _note(way, msgspec.structs.replace(back, replicas=replicas), "rolled_back")
    elif name in way.replicas:
        scaled = msgspec.structs.replace(record, replicas=replicas, change="scaled", cause=command, updated_at=now)
        _note(way, scaled, "scaled")
    else:
        way.services.append(_deployed(record, "unchanged"))


def _note(way: _Way, record: ServiceRecord, change: str) -> None:
    way.records.append((subjects.service_key(record.name), record))
    way.services.append(_deployed(record, change))


def _deployed(record: ServiceRecord, change: str) -> Deployed:
    return Deployed(service=record.name, change=change, revision=record.target, deploy=record.deploy)


def _done_before(records: Records, stack: StackRecord) -> StackRolledBack:
    """The answer to a command that comes again, with its work done."""
    found = {name: each.record for name, each in records.services.items()}
    names = sorted(name for name in stack.services if name in found)
    changes = {name: found[name].change if found[name].cause == stack.cause else "unchanged" for name in names}
    return StackRolledBack(
        sequence=records.stacks[stack.name].sequence,
        services=tuple(_deployed(found[name], change) for name, change in changes.items()),
        pruned=tuple(sorted(name for name, each in found.items() if each.removed and each.cause == stack.cause)),
        revision=stack.revision,
    )


def _specs(records: Records, stack: str, number: int) -> dict[str, ServiceSpec]:
    """Service -> its spec in a revision of the stack. Raises Refused: one is not kept."""
    found: dict[str, RevisionRecord | None] = {
        name: records.revisions.get((name, member.revision))
        for name, member in sorted(records.stack_revisions[stack, number].services.items())
    }
    lost = [name for name, revision in found.items() if revision is None]
    if lost:
        raise Refused(
            f"revision {number} of stack {stack} is not whole: that of service {lost[0]} is not kept any more",
            hint=f"meshctl stack history {stack} shows others",
        )
    return {name: revision.spec for name, revision in found.items() if revision is not None}


def _not_kept(records: Records, stack: str, number: int) -> NotFound:
    kept = ", ".join(map(str, records.stack_revisions_of(stack)))
    return NotFound(f"stack {stack} has no revision {number}", hint=f"kept are {kept or 'none'}")


def _existing(desk: Desk, name: str) -> StackRecord:
    record = standing(desk.records, name)
    if record is None:
        known = [each for each in desk.records.stacks if standing(desk.records, each) is not None]
        raise not_found("stack", name, known)
    return record
