"""What controllers are asked about stacks."""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

from meshctl.asking import DEPLOY_TIMEOUT
from meshctl.calls.asker import Asker
from schemas.planapi import PlanStack, StackPlan
from schemas.requests import Ask, Written
from schemas.serviceapi import DeployAnswer
from schemas.stackapi import (
    DeployStack,
    GetStackHistory,
    RemoveStack,
    RollbackStack,
    StackHistory,
    StackList,
    StackRolledBack,
)


class StackCalls(Asker):
    """Stacks: deploy, plan, history."""

    async def deploy_stack(self, request: DeployStack) -> DeployAnswer:
        """Store a stack's services in one step; they run later (`meshctl.waiting`)."""
        return cast("DeployAnswer", await self.ask("stack.deploy", request, timeout=DEPLOY_TIMEOUT))

    async def remove_stack(self, stack: str) -> Written:
        """Remove a stack and all its services."""
        return cast("Written", await self.ask("stack.remove", RemoveStack(stack=stack)))

    async def stacks(self) -> StackList:
        """All stacks."""
        return cast("StackList", await self.ask("stack.list", Ask()))

    async def plan_stack(self, request: PlanStack) -> StackPlan:
        """What a deploy of a stack would do."""
        return cast("StackPlan", await self.ask("stack.plan", request, timeout=DEPLOY_TIMEOUT))

    async def stack_history(self, stack: str, specs: Collection[int] = ()) -> StackHistory:
        """The kept revisions of a stack, newest first; with the services' specs of those whose numbers are given."""
        request = GetStackHistory(stack=stack, specs=tuple(specs))
        return cast("StackHistory", await self.ask("stack.history", request))

    async def rollback_stack(self, request: RollbackStack) -> StackRolledBack:
        """Make an older revision of a stack its target, in one step."""
        return cast("StackRolledBack", await self.ask("stack.rollback", request))
