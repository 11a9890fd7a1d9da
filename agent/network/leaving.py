"""When a task may get its stop signal: once nobody sends it anything new, and what is open is done or has had its time.

First every node has to say that the task is in none of its maps (0.3 s more for what was on its way; 5 s at most).
Then, as long as others take what is new, open connections are waited for, at most for the task's own stop grace
period. One that has been quiet for `QUIET` counts for nothing: pools hold such ones for ever. A service without
anybody else waits for nothing: whatever comes next is better there soon.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from agent.guards import guarded
from agent.ledger import Ledger
from agent.local import LocalTask
from agent.network.following import Following
from agent.network.model import View
from agent.network.port import Machine
from schemas.clock import Clock
from schemas.errors import MeshError

NOTICE_WITHIN = 5.0
"""Seconds that a task's stop waits at most until no node sends it anything new."""
PROMPT_EVERY = 0.1
"""Seconds between two heartbeats while a task waits for that."""
LINGER = 0.3
"""Seconds that it runs on after that: for what was on its way."""
ROUNDING = 1e-6
"""Seconds that a difference of two times may be off: what need not linger is to go at the first look."""
QUIET = 5.0
"""Seconds without a packet after which an open connection is not waited for."""
COUNT_EVERY = 0.2
"""Seconds between two counts of open connections while a task waits for them."""

log = structlog.get_logger()


@dataclass
class Departure:
    """One task on its way out. Times are monotonic."""

    since: float
    answers: int = 0
    """Answers of the leader that had come by then."""
    noticed_at: float | None = None
    """When nobody sent it anything new any more."""
    open: int | None = None
    """Connections at the last count; None: not counted yet."""


class Leaving:
    """Departures of this node's tasks."""

    def __init__(
        self,
        following: Following,
        machine: Machine,
        clock: Clock,
        prompt: Callable[[], None],
        ledger: Ledger,
    ) -> None:
        """`prompt`: have the leader asked now."""
        self._following = following
        self._machine = machine
        self._clock = clock
        self._prompt = prompt
        self._ledger = ledger
        self._departures: dict[str, Departure] = {}
        self._prompt_at = 0.0
        self._count = asyncio.Event()
        self.everywhere = 0
        """The sequence of networks' records that holds on every node, by the last answer: nodes may come back."""
        self._answers = 0
        self.unnoticed: set[str] = set()
        """Tasks that were not waited for to the end: some node may send to them still."""

    def may_stop(self, task: str, grace: float) -> bool:
        """See `agent.network.tasks.TaskNetworks`."""
        now = self._clock.monotonic()
        departure = self._departures.setdefault(task, Departure(now, self._answers))
        if departure.noticed_at is None and not self._noticed(task, departure, now):
            return False
        assert departure.noticed_at is not None, "just set"
        if self._busy(task, departure, now, grace):
            return False
        del self._departures[task]
        return True

    def _noticed(self, task: str, departure: Departure, now: float) -> bool:
        ids = self._as_others_name_it(task)
        left = [self._following.left[id_] for id_ in ids if id_ in self._following.left]
        gone, named = max(left, default=None), bool(ids & _named(self._following.view))
        # One that this node never saw among those that answer may have been seen by others, of whom it missed that.
        known = not self._has_address(task) or (
            self._answers > departure.answers and (gone is not None or self._following.whole)
        )
        if gone is None and not named and self._is_nowhere(task):
            departure.noticed_at = now - LINGER  # nobody could ever send it anything
        elif known and not named and self.everywhere >= (self._following.level if gone is None else gone):
            # One that never took connections needs no time for what is on its way.
            departure.noticed_at = now - (LINGER if gone is None else 0.0)
        elif now - departure.since > NOTICE_WITHIN:
            log.warning("task.stopped_unnoticed", task=task, gone=gone, everywhere=self.everywhere)
            self.unnoticed.add(task)
            departure.noticed_at = now - LINGER
        elif now >= self._prompt_at:
            self._prompt_at = now + PROMPT_EVERY
            self._prompt()
        return departure.noticed_at is not None

    def heard(self, everywhere: int) -> None:
        """The leader has answered."""
        self.everywhere = everywhere
        self._answers += 1

    def _has_address(self, task: str) -> bool:
        local = self._ledger.tasks.get(task)
        return local is not None and bool(local.addresses)

    def _is_nowhere(self, task: str) -> bool:
        """It is known, and on no network."""
        local = self._ledger.tasks.get(task)
        return local is not None and not local.addresses

    def _as_others_name_it(self, task: str) -> set[str]:
        """A successor may have the address of the task whose place it took, under whose id the leader knows it."""
        local = self._ledger.tasks.get(task)
        return {task, local.predecessor} if local is not None and local.predecessor else {task}

    def _busy(self, task: str, departure: Departure, now: float, grace: float) -> bool:
        assert departure.noticed_at is not None, "asked afterwards"
        waited = now - departure.noticed_at
        if waited < LINGER - ROUNDING:
            return True
        local = self._ledger.tasks.get(task)
        if local is None or not has_others(self._following.view, local):
            return False
        if departure.open is None:
            self._count.set()
        if waited < max(LINGER, grace) and departure.open != 0:
            return True
        if departure.open:
            log.info("task.stopped_with_connections", task=task, open=departure.open, after=round(waited, 1))
        return False

    async def run(self) -> None:
        """Count for ever, while anybody wants to know."""
        await guarded("connections", self._keep_counting)

    async def _keep_counting(self) -> None:
        while True:
            await self._count.wait()
            self._count.clear()
            known = self._ledger.tasks
            waiting = {task: known[task].addresses for task in self._departures if task in known}
            addresses = frozenset(address for each in waiting.values() for address in each.values())
            try:
                found = await self._machine.connections(addresses, QUIET)
            except MeshError as error:
                log.warning("connections.not_counted", error=str(error))
                found = {}
            for task, home in waiting.items():
                departure = self._departures.get(task)
                if departure is not None:
                    departure.open = sum(found.get(address, 0) for address in home.values())
            if any(departure.open for departure in self._departures.values()):
                await asyncio.sleep(COUNT_EVERY)
                self._count.set()


def _named(view: View) -> set[str]:
    return {each.task for record in view.endpoints.values() for each in record.backends}


def has_others(view: View, task: LocalTask) -> bool:
    """Whether somebody else of its service answers on one of its networks."""
    records = (view.endpoints.get(f"{network}.{task.service}") for network in task.addresses)
    return any(each.task != task.id for record in records if record is not None for each in record.backends)
