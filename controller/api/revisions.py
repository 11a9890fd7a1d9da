"""service.history, .rollback, .promote, .pause: the numbered past of a service, and holding its rollout.

Going back sets the target to a revision that is kept, and raises `deploy`: what runs is replaced as the rollback_config
of the revision that is left says.
"""

from __future__ import annotations

import msgspec

from controller.api.composition import Change, in_its_stack
from controller.api.dependents import dragged, members_made
from controller.api.desk import Desk, Draft, not_found
from controller.api.intent import current, going_back, has_failed, intend
from controller.records import Records
from schemas import subjects
from schemas.errors import NotFound, Refused
from schemas.records import ServiceRecord
from schemas.requests import Written
from schemas.revisionapi import GetHistory, History, PauseServices, PromoteService, RevisionView, RollbackService
from schemas.serviceapi import DeployAnswer, Deployed, ServiceDeploy
from schemas.stacks import StackMember
from schemas.wire import Wire


async def history(desk: Desk, request: GetHistory) -> History:
    """The kept revisions of a service, newest first. Raises NotFound."""
    await desk.ready_to_read(request)
    record = _existing(desk, request.service)
    rollout = desk.records.rollouts.get(request.service)
    effective = rollout.revision if rollout is not None and rollout.deploy == record.deploy else record.target
    views = (
        RevisionView(
            number=number,
            spec=desk.records.revisions[request.service, number].spec,
            created_at=desk.records.revisions[request.service, number].created_at,
            cause=desk.records.revisions[request.service, number].cause,
            target=number == record.target,
            runs=number == effective,
            good=rollout is not None and number == rollout.good,
        )
        for number in reversed(desk.records.revisions_of(request.service))
    )
    return History(service=request.service, revisions=tuple(views))


async def rollback(desk: Desk, request: RollbackService) -> DeployAnswer:
    """Set an older revision as the target. Raises NotFound; Refused: there is nothing to go back to."""
    command, now = desk.command(request.command), desk.clock.wall()

    async def draft() -> Draft[DeployAnswer]:
        record = _existing(desk, request.service)
        if record.cause == command and record.change == "rolled_back":  # asked once more, and done already
            return Draft(DeployAnswer(sequence=0, services=(_answer(record, "rolled_back"),)))
        if request.canary and not record.canary:
            raise _no_canary(record)
        number = request.to or previous(desk.records, record)
        revision = desk.records.revisions.get((record.name, number))
        if revision is None:
            kept = ", ".join(map(str, desk.records.revisions_of(record.name)))
            raise NotFound(f"service {record.name} has no revision {number}", hint=f"kept are {kept}")
        if revision.spec.mode != record.mode:
            raise Refused(f"revision {number} of {record.name} is {revision.spec.mode}, the service is {record.mode}")
        if number == record.target and not has_failed(desk.records, record):
            return Draft(DeployAnswer(sequence=0, services=(_answer(record, "unchanged"),)))
        back = going_back(record, number, record.mode, command, now)
        records: list[tuple[str, Wire | None]] = [(subjects.service_key(record.name), back)]
        followers = dragged(desk.records, [ServiceDeploy(spec=revision.spec)])[1:]
        intents = [intend(desk.records, each, command, now) for each in followers]
        records += [record for intent in intents for record in intent.records]
        members = {record.name: StackMember(revision=number, replicas=record.replicas)}
        members |= members_made(desk.records, intents)
        records += in_its_stack(desk.records, record, members, Change(command, now, "changed"))
        answers = (_answer(back, "rolled_back"), *(intent.deployed for intent in intents))
        return Draft(DeployAnswer(sequence=0, services=answers), tuple(records))

    answer, sequence = await desk.write(draft)
    return msgspec.structs.replace(answer, sequence=sequence)


async def promote(desk: Desk, request: PromoteService) -> Written:
    """Let the canary's revision go to all slots. Raises NotFound; Refused: no canary stands."""
    command, now = desk.command(request.command), desk.clock.wall()

    async def draft() -> Draft[None]:
        record = _existing(desk, request.service)
        if record.cause == command and record.change == "promoted":
            return Draft(None)
        rollout = desk.records.rollouts.get(record.name)
        if not record.canary:
            raise _no_canary(record)
        if record.paused:
            raise Refused(f"service {record.name} is paused", hint=f"meshctl service resume {record.name} first")
        if rollout is None or rollout.deploy != record.deploy or not rollout.update.stands:
            why = rollout.why if rollout is not None and rollout.deploy == record.deploy else ""
            hint = f"{why}; " if why else ""
            raise Refused(
                f"the canary of {record.name} is not up",
                hint=f"{hint}meshctl service abort {record.name} takes it back",
            )
        promoted = msgspec.structs.replace(record, canary=0, change="promoted", cause=command, updated_at=now)
        return Draft(None, ((subjects.service_key(record.name), promoted),))

    _, sequence = await desk.write(draft)
    return Written(sequence=sequence)


async def pause(desk: Desk, request: PauseServices) -> Written:
    """Halt the rollouts of services, or let them go on. Raises NotFound, and then changes none."""
    command, now = desk.command(request.command), desk.clock.wall()

    async def draft() -> Draft[None]:
        records: list[tuple[str, Wire | None]] = []
        for name in sorted(set(request.services)):
            record = _existing(desk, name)
            if record.paused != request.paused:
                change = "paused" if request.paused else "resumed"
                held = msgspec.structs.replace(
                    record, paused=request.paused, change=change, cause=command, updated_at=now
                )
                records.append((subjects.service_key(name), held))
        return Draft(None, tuple(records))

    if not request.services:
        raise Refused("no service is named")
    _, sequence = await desk.write(draft)
    return Written(sequence=sequence)


def previous(records: Records, record: ServiceRecord) -> int:
    """Where going back leads when nobody says: the last good revision if the target is not it, else the one before.

    Raises Refused: there is none.
    """
    rollout = records.rollouts.get(record.name)
    good = rollout.good if rollout is not None else 0
    if good and good != record.target and (record.name, good) in records.revisions:
        return good
    older = [number for number in records.revisions_of(record.name) if number < record.target]
    if not older:
        raise Refused(
            f"service {record.name} has no revision before {record.target}",
            hint=f"meshctl service history {record.name} shows what is kept",
        )
    return older[-1]


def _no_canary(record: ServiceRecord) -> Refused:
    return Refused(f"service {record.name} has no canary", hint="meshctl stack deploy --canary N makes one")


def _answer(record: ServiceRecord, change: str) -> Deployed:
    return Deployed(service=record.name, change=change, revision=record.target, deploy=record.deploy)


def _existing(desk: Desk, name: str) -> ServiceRecord:
    record = current(desk.records, name)
    if record is None:
        standing = [each for each, stored in desk.records.services.items() if not stored.record.removed]
        raise not_found("service", name, standing)
    return record
