"""A round's changes become batches, and the batches are stored in order, fenced.

A round that fits is one transaction. One that does not is cut between records, in an order in which every prefix is
safe: verdicts and brake, then progress (the histories of slots before their tasks are forgotten), then assignments that
only take away, then those that add. So a slot's next task is never stored before its last one was taken away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import assert_never

from bus.batches import write_bytes
from bus.port import BATCH_BYTES, BATCH_MESSAGES, Busy, Committed, Delete, Fence, Outcome, Put, Store, Write
from controller.world import Change, DropRollout, PutAssignment, PutBrake, PutLiveness, PutRollout, Stored
from schemas.assignment import Assignment
from schemas.wire import encode

ROOM = 1024
"""Bytes left free in each batch: the events' cursor may be put to it."""

BUSY_TRIES = 50
BUSY_WAIT = 0.02
"""Busy means "at once again": it is tried for about a second, then the outcome counts as what it is."""


def batches(changes: Sequence[Change], assignments: Mapping[str, Stored[Assignment]]) -> list[list[Write]]:
    """The writes of a round in the fewest batches within the limits, none of them empty."""
    ordered = sorted(changes, key=lambda change: (_rank(change, assignments), change.key))
    cut: list[list[Write]] = []
    size = BATCH_BYTES
    for write in map(_write, ordered):
        weight = write_bytes(write)
        if not cut or len(cut[-1]) == BATCH_MESSAGES or size + weight > BATCH_BYTES - ROOM:
            cut.append([])
            size = 0
        cut[-1].append(write)
        size += weight
    return cut


async def commit_fenced(store: Store, batch: Sequence[Write], epoch: int) -> Outcome:
    """Store one batch while `epoch` is the epoch; tries again while the server is busy."""
    outcome: Outcome = Busy()
    for _ in range(BUSY_TRIES):
        outcome = await store.commit(batch, Fence(epoch))
        if not isinstance(outcome, Busy):
            break
        await asyncio.sleep(BUSY_WAIT)
    return outcome


async def commit_all(store: Store, cut: Sequence[Sequence[Write]], epoch: int) -> Outcome:
    """Store all batches in order. The first outcome that is not `Committed` ends it and is the answer."""
    outcome: Outcome = Committed(0, 0)
    for batch in cut:
        outcome = await commit_fenced(store, batch, epoch)
        if not isinstance(outcome, Committed):
            break
    return outcome


def _write(change: Change) -> Write:
    if isinstance(change, DropRollout):
        return Delete(change.key)
    return Put(change.key, encode(change.record))


def _rank(change: Change, assignments: Mapping[str, Stored[Assignment]]) -> int:
    match change:
        case PutLiveness() | PutBrake():
            return 0
        case PutRollout():
            return 1
        case PutAssignment():
            return 3 if _adds(change, assignments) else 2
        case DropRollout():
            return 4
        case _:
            assert_never(change)


def _adds(change: PutAssignment, assignments: Mapping[str, Stored[Assignment]]) -> bool:
    stored = assignments.get(change.node)
    before = {task.id for task in stored.record.tasks} if stored else set()
    return any(task.id not in before and task.desired == "running" for task in change.record.tasks)
