"""A round's changes as writes, in an order in which every prefix is safe; `bus.writer` stores them fenced.

A round that fits is one transaction. One that does not is cut between records by the writer, so the order counts:
verdicts "down" and the brake's engaging, then progress (the histories of slots before their tasks are forgotten), then
assignments that only take away, then those that add, then verdicts of nodes that are up, then the brake's release. So a
slot's next task is never stored before its last one was taken away; a node that comes back has no lease before it is
stored that what was replaced meanwhile is to end; and no brake is off before it is stored which nodes are back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import assert_never

import structlog

from bus.batches import VALUE_BYTES
from bus.commits import Delete, Put, Write
from controller.changes import (
    Change,
    DropAllocation,
    DropEndpoints,
    DropNode,
    DropRollout,
    DropStackGood,
    PutAllocation,
    PutAssignment,
    PutBrake,
    PutEndpoints,
    PutLiveness,
    PutPublish,
    PutRebalance,
    PutRollout,
    PutStackGood,
)
from controller.world import Stored
from schemas.assignment import Assignment
from schemas.records import Reason
from schemas.wire import encode

log = structlog.get_logger()


def writes_of(changes: Sequence[Change], assignments: Mapping[str, Stored[Assignment]]) -> list[Write]:
    """The writes of a round in the order in which they may be stored; `assignments` are those that stand."""
    return [_write(change) for change in sorted(changes, key=lambda change: (_rank(change, assignments), change.key))]


def fitting(writes: Sequence[Write]) -> tuple[list[Write], dict[str, int]]:
    """The writes that a store takes, and of the others: key -> bytes."""
    too_large = {
        write.key: len(write.value) for write in writes if isinstance(write, Put) and len(write.value) > VALUE_BYTES
    }
    return [write for write in writes if write.key not in too_large], too_large


def _write(change: Change) -> Write:
    if isinstance(change, DropRollout | DropNode | DropAllocation | DropEndpoints | DropStackGood):
        return Delete(change.key)
    return Put(change.key, encode(change.record))


def _rank(change: Change, assignments: Mapping[str, Stored[Assignment]]) -> int:
    match change:
        case PutLiveness():
            return 0 if change.record.verdict == "down" else 4
        case PutBrake():
            return 0 if change.record.engaged else 5
        case PutRebalance():
            return 0
        case PutAllocation() | PutEndpoints() | PutPublish():
            return 1
        case PutRollout():
            return 1
        case PutAssignment():
            return 3 if _adds(change, assignments) else 2
        case DropRollout() | DropNode() | DropAllocation() | DropEndpoints() | DropStackGood() | PutStackGood():
            return 5
        case _:
            assert_never(change)


def _adds(change: PutAssignment, assignments: Mapping[str, Stored[Assignment]]) -> bool:
    stored = assignments.get(change.node)
    before = {task.id for task in stored.record.tasks} if stored else set()
    return any(task.id not in before and task.desired == "running" for task in change.record.tasks)


def still_too_large(records: Mapping[str, int], writes: Sequence[Write]) -> dict[str, int]:
    """Of the records that no store would take, those that have not been written since."""
    written = {write.key for write in writes}
    return {key: size for key, size in records.items() if key not in written}


def too_large_alarms(too_large: Mapping[str, int]) -> list[Reason]:
    """What is to be said of records (key -> bytes) that can't be stored."""
    for key, size in too_large.items():
        log.error("record.too_large", key=key, bytes=size)
    return [Reason(text=f"{key} would take {size:,} bytes: it is not stored") for key, size in too_large.items()]
