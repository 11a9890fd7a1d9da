"""Asking what a deploy would do, and a plan as a file."""

from __future__ import annotations

from schemas.network import NetworkRecord
from schemas.records import Reason
from schemas.requests import Ask
from schemas.serviceapi import ServiceDeploy
from schemas.spec import ServiceSpec
from schemas.wire import Count, Seconds, Token, Wire

PLAN_FORMAT = 1


class PlanStack(Ask, frozen=True, kw_only=True):
    """stack.plan: the fields of stack.deploy. Nothing is written."""

    stack: Token
    services: tuple[ServiceDeploy, ...]
    networks: tuple[NetworkRecord, ...] = ()
    prune: bool = False
    resolve_image: str = "always"


class PlannedService(Wire, frozen=True, kw_only=True):
    """What would become of one service: created | updated | scaled | unchanged | removed."""

    service: Token
    change: str
    before: ServiceSpec | None = None
    after: ServiceSpec | None = None
    revision_before: Count = 0
    revision: Count = 0
    replicas_before: Count = 0
    replicas: Count = 0
    waits: tuple[Reason, ...] = ()
    """What could not be placed, and why."""


class PlannedTask(Wire, frozen=True, kw_only=True):
    """A task that would start, or end, and why there."""

    service: Token
    slot: str
    node: Token
    why: str = ""


class StackPlan(Wire, frozen=True, kw_only=True):
    """The answer to stack.plan."""

    stack: Token
    sequence: Count = 0
    """Of the state that it was made from."""
    services: tuple[PlannedService, ...] = ()
    networks: tuple[str, ...] = ()
    """Those that would be made."""
    starts: tuple[PlannedTask, ...] = ()
    ends: tuple[PlannedTask, ...] = ()
    whole: bool = True
    """False: there is more to come than was looked at."""
    warnings: tuple[str, ...] = ()
    wanted: tuple[ServiceDeploy, ...] = ()
    """What was asked for, images pinned."""
    base: dict[str, str] = {}
    """What it rests on: key -> a mark that changes with it (`DeployStack.expected`)."""

    @property
    def changes(self) -> bool:
        """Whether a deploy would do anything."""
        return bool(self.networks) or any(each.change != "unchanged" for each in self.services)


class PlanFile(Wire, frozen=True, kw_only=True):
    """A plan that was kept, for `meshctl stack deploy --plan`."""

    plan: StackPlan
    networks: tuple[NetworkRecord, ...] = ()
    prune: bool = False
    made_at: Seconds = 0.0
    format: Count = PLAN_FORMAT


PLAN_REQUESTS: dict[str, tuple[type[Wire], type[Wire]]] = {"stack.plan": (PlanStack, StackPlan)}
