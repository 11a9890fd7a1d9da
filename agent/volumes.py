"""Answers requests to remove a named volume of this node."""

from __future__ import annotations

from agent.engine.labels import LABEL_SERVICE, LABEL_TASK
from agent.engine.port import Engine
from agent.ledger import Ledger
from agent.reconciler import Reconciler
from agent.surroundings import Surveyor
from schemas.errors import Conflict, EngineError
from schemas.nodeapi import Done, RemoveVolume


class VolumeDesk:
    """volume_remove."""

    def __init__(self, node: str, engine: Engine, ledger: Ledger, reconciler: Reconciler, surveyor: Surveyor) -> None:
        self._node = node
        self._engine = engine
        self._ledger = ledger
        self._reconciler = reconciler
        self._surveyor = surveyor

    async def remove(self, request: RemoveVolume) -> Done:
        """Remove it. Containers of ours that are kept for their logs alone do not hold it.

        Raises:
            NotFound: there is no such volume.
            EngineError, Conflict: a container uses it.
        """
        try:
            await self._engine.remove_volume(request.name)
        except (EngineError, Conflict):
            if not await self._let_go():
                raise
            await self._engine.remove_volume(request.name)
        self._surveyor.ask()
        return Done(node=self._node)

    async def _let_go(self) -> int:
        """Remove the kept containers of services that have no task here any more; how many there were."""
        assignment = self._reconciler.assignment
        if assignment is None or self._reconciler.frozen:
            return 0
        services = {task.service for task in assignment.tasks}
        kept = [
            container
            for container in self._reconciler.containers
            if container.ended
            and container.labels.get(LABEL_SERVICE, "") not in services
            and container.labels.get(LABEL_TASK, "") not in self._ledger.tasks
        ]
        for container in kept:
            await self._engine.remove(container.id)
        return len(kept)
