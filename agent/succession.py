"""Starts successors while no leader answers (`agent.successors` decides which and when)."""

from __future__ import annotations

import asyncio

import structlog

from agent.guards import sleep_unless
from agent.leadership import Leadership
from agent.ledger import Ledger
from agent.local import as_assigned
from agent.reconciler import Reconciler
from agent.successors import Due, due_successors
from agent.telling import Teller
from schemas.clock import Clock

CHECK_EVERY = 1.0

log = structlog.get_logger()


class Succession:
    """Watches the ledger for ends and the leader for silence."""

    def __init__(
        self, ledger: Ledger, reconciler: Reconciler, leadership: Leadership, teller: Teller, clock: Clock
    ) -> None:
        self._ledger = ledger
        self._reconciler = reconciler
        self._leadership = leadership
        self._teller = teller
        self._clock = clock
        self._ended_at: dict[str, float] = {}
        self._born: dict[str, float] = {}
        self._changed = asyncio.Event()
        ledger.listeners.append(self._changed.set)

    async def run(self) -> None:
        """Work for ever."""
        while True:
            self._changed.clear()
            next_at = self._work()
            await sleep_unless(self._changed, max(0.05, next_at - self._clock.monotonic()))

    def _work(self) -> float:
        """Start what is due; when to look again."""
        now = self._clock.monotonic()
        self._note_ends(now)
        if not self._leadership.silent or self._reconciler.frozen:
            return now + CHECK_EVERY
        due = due_successors(self._ledger.tasks, self._reconciler.wanted, self._ended_at, self._born)
        for one in due:
            if one.at <= now:
                self._start(one, now)
        return min([one.at for one in due if one.at > now], default=now + CHECK_EVERY)

    def _note_ends(self, now: float) -> None:
        ended = {id_ for id_, task in self._ledger.tasks.items() if task.ended}
        for id_ in ended:
            self._ended_at.setdefault(id_, now)
        for gone in set(self._ended_at) - ended:
            del self._ended_at[gone]

    def _start(self, due: Due, now: float) -> None:
        base = self._reconciler.wanted[due.base]
        if base.task is None:
            return
        log.warning("successor.started", task=due.base, successor=due.task, why="no leader answers")
        self._born[due.task] = now
        why = "no leader answers: restarted by its policy"
        self._teller.tell("task.succeeded_by", why=why, service=base.task.service, task=due.base, successor=due.task)
        self._reconciler.start_successor(as_assigned(base.task, due.task), due.base)
