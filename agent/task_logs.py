"""Answers requests for a task's log: of running tasks, and of ended ones whose containers are kept."""

from __future__ import annotations

import asyncio

from agent.engine.labels import LABEL_TASK
from agent.engine.plans import LogQuery
from agent.engine.port import Engine
from agent.ledger import Ledger
from agent.reconciler import Reconciler
from schemas.errors import NotFound
from schemas.nodeapi import LogPage, ReadLogs

PAGE_LINES = 1000
LONGEST_WAIT = 20.0
POLL = 0.25


class TaskLogs:
    """Finds a task's container and reads a page."""

    def __init__(self, node: str, engine: Engine, ledger: Ledger, reconciler: Reconciler) -> None:
        self._node = node
        self._engine = engine
        self._ledger = ledger
        self._reconciler = reconciler

    async def read(self, request: ReadLogs) -> LogPage:
        """One page. Raises NotFound for a task that this node does not know."""
        wait = min(request.wait, LONGEST_WAIT)
        until = asyncio.get_running_loop().time() + wait
        container = self._container(request.task)
        while not container:
            task = self._ledger.tasks.get(request.task)
            if task is None:
                raise NotFound(f"node {self._node} has no container of task {request.task}")
            if task.ended or asyncio.get_running_loop().time() >= until:
                return LogPage(cursor=request.cursor, ended=task.ended)
            await asyncio.sleep(POLL)
            container = self._container(request.task)
        query = LogQuery(request.cursor, request.tail, request.since, PAGE_LINES, wait)
        return await self._engine.logs(container, query)

    def _container(self, task: str) -> str:
        known = self._ledger.tasks.get(task)
        if known is not None:
            return known.container
        kept = (one.id for one in self._reconciler.containers if one.labels.get(LABEL_TASK) == task)
        return next(kept, "")
