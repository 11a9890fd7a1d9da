"""Commands that come again: a client that waits asks once more, and another controller may get to it much later.

A record's `cause` tells that its last command is done. What others have ordered since must not be undone by a late
repeat, so each record remembers the commands before, too. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from controller.records import Records
from schemas.records import NodeRecord, ServiceRecord, StackRecord
from schemas.wire import Wire

KEPT = 16
"""Commands that a record remembers."""

Intent = ServiceRecord | StackRecord | NodeRecord


def remembering(records: Records, record: Wire | None) -> Wire | None:
    """The record as it is to be written: with the commands that made what it replaces."""
    before = _before(records, record)
    if before is None or not isinstance(record, Intent):
        return record
    commands = (each for each in (before.cause, *before.recent) if each and each != record.cause)
    return msgspec.structs.replace(record, recent=tuple(dict.fromkeys(commands))[:KEPT])


def done_before_others(records: Records, written: Iterable[Wire | None], command: str) -> str:
    """What a command that is about to write has changed already, and others after it; "" if there is no such thing."""
    for record in written:
        before = _before(records, record)
        if command and before is not None and before.cause != command and command in before.recent:
            return before.name
    return ""


def _before(records: Records, record: Wire | None) -> Intent | None:
    if isinstance(record, ServiceRecord):
        service = records.services.get(record.name)
        return service.record if service is not None else None
    if isinstance(record, StackRecord):
        stack = records.stacks.get(record.name)
        return stack.record if stack is not None else None
    if isinstance(record, NodeRecord):
        node = records.nodes.get(record.name)
        return node.record if node is not None else None
    return None
