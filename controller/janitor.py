"""Clears away what is over: records of removed services and stacks, and answered orders.

Those keys are the api's to write, so this goes the api's way: compare-and-set, never over somebody else's change. Only
the leader's process does it, and only after a settled round.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from bus.commits import BATCH_MESSAGES
from controller.api.composition import pinned
from controller.api.desk import Desk, Draft
from controller.records import Records
from schemas import subjects
from schemas.errors import MeshError
from schemas.wire import Wire

log = structlog.get_logger()

EVERY = 0.5
"""Seconds at least between two looks."""


def finished(records: Records) -> list[tuple[str, ...]]:
    """The keys of each removed service of which nothing is left, and of each removed stack without services.

    A stack's revisions keep those that they name, also of removed services: these may be brought back.
    """
    removed = [name for name, stored in sorted(records.services.items()) if stored.record.removed]
    forsaken = [name for name in records.revised() if name not in records.services]
    over: list[tuple[str, ...]] = []
    needed = pinned(records) if removed or forsaken else {}
    if removed:
        named = {task.service for stored in records.assignments.values() for task in stored.record.tasks}
        gone = [name for name in removed if name not in records.rollouts and name not in named]
        over += [(subjects.service_key(name), *_unneeded(records, name, needed)) for name in gone]
    over += [keys for name in forsaken if (keys := _unneeded(records, name, needed))]
    owners = {stored.record.stack for stored in records.services.values()}
    for name, stack in sorted(records.stacks.items()):
        if stack.record.removed and name not in owners and name not in records.stack_good:
            revisions = (subjects.stack_revision_key(name, number) for number in records.stack_revisions_of(name))
            over.append((subjects.stack_key(name), *revisions))
    return over


def _unneeded(records: Records, service: str, needed: Mapping[str, set[int]]) -> tuple[str, ...]:
    """The keys of a service's revisions that no kept revision of a stack names."""
    numbers = (number for number in records.revisions_of(service) if number not in needed.get(service, ()))
    return tuple(subjects.revision_key(service, number) for number in numbers)


def answered(records: Records, seen: dict[str, int]) -> list[tuple[str, ...]]:
    """The keys of orders that a settled round has seen as they stand."""
    return [
        (subjects.order_key(name),)
        for name, stored in sorted(records.orders.items())
        if seen.get(name) == stored.sequence
    ]


class Janitor:
    """Runs beside a leader's rounds."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def run(self) -> None:
        """Clear away after settled rounds, for ever."""
        leader = self._desk.leader
        while True:
            await leader.settled.wait()
            leader.settled.clear()
            for keys in (*finished(self._desk.records), *answered(self._desk.records, leader.answered)):
                try:
                    await self._clear(keys)
                except MeshError as error:
                    log.info("janitor.waited", key=keys[0], why=error.message)
            await asyncio.sleep(EVERY)

    async def _clear(self, keys: tuple[str, ...]) -> None:
        async def draft() -> Draft[None]:
            records, seen = self._desk.records, self._desk.leader.answered
            still = {key for group in (*finished(records), *answered(records, seen)) for key in group}
            gone: list[tuple[str, Wire | None]] = [(key, None) for key in keys if key in still]
            return Draft(None, tuple(gone[:BATCH_MESSAGES]))

        await self._desk.write(draft)
        log.info("record.cleared", key=keys[0])
