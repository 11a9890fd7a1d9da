"""What a stack is made up of, and the records of a change of that: the stack's next revision, or an older one. Pure.

A stack's revision names its services' revisions and replicas. It is immutable; the last `STACK_REVISIONS_KEPT` are
kept, with the target and the last good one, and the revisions of services that kept ones name are kept with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from controller.records import Records
from schemas import subjects
from schemas.records import ServiceRecord, StackRecord
from schemas.stacks import STACK_REVISIONS_KEPT, StackMember, StackRevisionRecord
from schemas.wire import Wire


@dataclass(frozen=True)
class Composed:
    """The writes of a change."""

    revision: int
    """Of the stack, from then on."""
    records: tuple[tuple[str, Wire | None], ...] = ()
    cleared: tuple[tuple[str, Wire | None], ...] = ()
    """Old revisions that may go, if the batch has room."""


@dataclass(frozen=True)
class Change:
    """Who changes it, when, and what to call that (`StackRecord.change`)."""

    command: str
    now: float
    word: str = "deployed"


def standing(records: Records, stack: str) -> StackRecord | None:
    """The stack, unless it is removed."""
    stored = records.stacks.get(stack)
    return None if stored is None or stored.record.removed else stored.record


def members_of(records: Records, stack: str) -> dict[str, StackMember]:
    """What the stack is made up of now: as its revision says, or (none was written) as its services stand."""
    record = standing(records, stack)
    if record is None:
        return {}
    written = records.stack_revisions.get((stack, record.revision))
    if written is not None and {name: each.revision for name, each in written.services.items()} == record.services:
        return dict(written.services)
    return {
        name: StackMember(revision=number, replicas=_replicas(records, name))
        for name, number in record.services.items()
    }


def compose(
    records: Records, stack: str, members: Mapping[str, StackMember], change: Change, *, revision: int = 0
) -> Composed:
    """The records that make `members` the stack's: a new revision, unless it is that already, or kept `revision`."""
    old, before = standing(records, stack), members_of(records, stack)
    stored = records.stacks.get(stack)
    kept = records.stack_revisions_of(stack)
    written: list[tuple[str, Wire | None]] = []
    if old is not None and old.revision not in kept and before:  # made by a controller that wrote none
        earlier = StackRevisionRecord(number=old.revision, services=before, created_at=old.updated_at, cause=old.cause)
        written.append((subjects.stack_revision_key(stack, old.revision), earlier))
    same = old is not None and before == members
    if old is not None and (same or not members):
        number = old.revision
    else:
        number = revision or _next(stored.record if stored else None, kept)
    if members and number not in kept and not written:
        fresh = StackRevisionRecord(number=number, services=dict(members), created_at=change.now, cause=change.command)
        written.append((subjects.stack_revision_key(stack, number), fresh))
    record = StackRecord(
        name=stack,
        revision=number,
        services={name: each.revision for name, each in members.items()},
        removed=not members,
        change=change.word if members else "removed",
        cause=change.command,
        updated_at=change.now,
    )
    gone: Iterable[int] = kept if old is None else _superseded(records, stack, number, {*kept, number})
    cleared = tuple((subjects.stack_revision_key(stack, each), None) for each in gone)
    return Composed(number, ((subjects.stack_key(stack), record), *written), cleared)


def in_its_stack(
    records: Records, service: ServiceRecord, changed: Mapping[str, StackMember], change: Change
) -> list[tuple[str, Wire | None]]:
    """The records of its stack where a service, and what that drags along, is changed by itself.

    None where it has no stack that stands.
    """
    if standing(records, service.stack) is None:
        return []
    composed = compose(records, service.stack, {**members_of(records, service.stack), **changed}, change)
    return [*composed.records, *composed.cleared]


def pinned(records: Records) -> dict[str, set[int]]:
    """Service -> its revisions that kept revisions of stacks name."""
    found: dict[str, set[int]] = {}
    for (stack, _), revision in records.stack_revisions.items():
        if standing(records, stack) is not None:
            for name, member in revision.services.items():
                found.setdefault(name, set()).add(member.revision)
    return found


def pinned_of(records: Records, stack: str, service: str) -> set[int]:
    """The revisions of one service that kept revisions of its stack name."""
    numbers = records.stack_revisions_of(stack) if standing(records, stack) is not None else ()
    members = (records.stack_revisions[stack, number].services.get(service) for number in numbers)
    return {member.revision for member in members if member is not None}


def last_good(records: Records, stack: str, *, but: int = 0) -> int:
    """The kept revision all of whose services came up last, other than `but`; 0: none."""
    noted, kept = records.stack_good.get(stack), records.stack_revisions_of(stack)
    good = [number for number in (noted.good if noted is not None else ()) if number in kept and number != but]
    return good[-1] if good else 0


def _replicas(records: Records, service: str) -> int:
    stored = records.services.get(service)
    return stored.record.replicas if stored is not None else 1


def _next(record: StackRecord | None, kept: tuple[int, ...]) -> int:
    return max([record.revision if record is not None else 0, *kept]) + 1


def _superseded(records: Records, stack: str, target: int, numbers: set[int]) -> list[int]:
    needed = {target, last_good(records, stack)}
    over = len(numbers) - STACK_REVISIONS_KEPT
    return [number for number in sorted(numbers)[: max(0, over)] if number not in needed]
