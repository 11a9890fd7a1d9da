"""What controllers are asked about services and their tasks."""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

from meshctl.asking import DEPLOY_TIMEOUT
from meshctl.calls.asker import Asker
from schemas.refreshapi import RefreshAnswer, RefreshServices
from schemas.requests import Written
from schemas.revisionapi import GetHistory, History, PauseServices, PromoteService, RollbackService
from schemas.serviceapi import (
    DeployAnswer,
    InspectService,
    ListServices,
    PutService,
    RemoveServices,
    ScaleServices,
    ServiceList,
    ServiceView,
)
from schemas.taskapi import InspectTask, ListTasks, TaskDetail, TaskList


class ServiceCalls(Asker):
    """Services, their revisions and tasks."""

    async def put_service(self, request: PutService) -> DeployAnswer:
        """Create or update one service."""
        return cast("DeployAnswer", await self.ask("service.put", request, timeout=DEPLOY_TIMEOUT))

    async def scale(self, replicas: dict[str, int]) -> Written:
        """Set replica counts, all in one step."""
        return cast("Written", await self.ask("service.scale", ScaleServices(replicas=replicas)))

    async def history(self, service: str) -> History:
        """The kept revisions of a service, newest first."""
        return cast("History", await self.ask("service.history", GetHistory(service=service)))

    async def rollback(self, service: str, to: int = 0) -> DeployAnswer:
        """Go back to a revision; 0: the last good one, or the one before."""
        request = RollbackService(service=service, to=to)
        return cast("DeployAnswer", await self.ask("service.rollback", request))

    async def promote(self, service: str) -> Written:
        """Let the canary's revision go to all slots."""
        return cast("Written", await self.ask("service.promote", PromoteService(service=service)))

    async def abort(self, service: str) -> DeployAnswer:
        """Take a canary back."""
        request = RollbackService(service=service, canary=True)
        return cast("DeployAnswer", await self.ask("service.rollback", request))

    async def refresh(self, request: RefreshServices) -> RefreshAnswer:
        """Resolve the images of services anew; only what has moved is changed."""
        return cast("RefreshAnswer", await self.ask("service.refresh", request, timeout=DEPLOY_TIMEOUT))

    async def pause(self, services: Collection[str], *, paused: bool = True) -> Written:
        """Halt the rollouts of services, or let them go on."""
        request = PauseServices(services=tuple(services), paused=paused)
        return cast("Written", await self.ask("service.pause", request))

    async def remove_services(self, services: Collection[str]) -> Written:
        """Remove services."""
        return cast("Written", await self.ask("service.remove", RemoveServices(services=tuple(services))))

    async def services(self, *, stack: str = "") -> ServiceList:
        """All services, or those of a stack."""
        return cast("ServiceList", await self.ask("service.list", ListServices(stack=stack)))

    async def service(self, name: str) -> ServiceView:
        """One service. Raises NotFound."""
        return cast("ServiceView", await self.ask("service.inspect", InspectService(service=name)))

    async def tasks(self, *, service: str = "", stack: str = "", node: str = "", ended: bool = True) -> TaskList:
        """Tasks, with the last ended ones of each slot."""
        request = ListTasks(service=service, stack=stack, node=node, ended=ended)
        return cast("TaskList", await self.ask("task.list", request))

    async def task(self, task: str) -> TaskDetail:
        """One task by id, unique prefix or container id. Raises NotFound."""
        return cast("TaskDetail", await self.ask("task.inspect", InspectTask(task=task)))
