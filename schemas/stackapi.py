"""Requests about stacks and their revisions, and their answers."""

from __future__ import annotations

from schemas.network import NetworkRecord
from schemas.requests import Ask, Command, Written
from schemas.serviceapi import DeployAnswer, ServiceDeploy
from schemas.spec import ServiceSpec
from schemas.stacks import StackMember
from schemas.wire import Count, Seconds, Token, Wire


class DeployStack(Command, frozen=True, kw_only=True):
    """stack.deploy. `prune`: services of the stack that are not named are removed."""

    stack: Token
    services: tuple[ServiceDeploy, ...]
    networks: tuple[NetworkRecord, ...] = ()
    """Those that the stack makes, and removes with it."""
    prune: bool = False
    resolve_image: str = "always"
    """always | changed | never, as docker stack deploy has it; pinned: the services say it."""
    expected: dict[str, str] = {}
    """Of a plan: what it rests on (`StackPlan.base`). Conflict where that has moved on."""


class RemoveStack(Command, frozen=True, kw_only=True):
    """stack.remove."""

    stack: Token


class StackView(Wire, frozen=True, kw_only=True):
    """A stack."""

    stack: Token
    revision: Count
    services: dict[str, Count]


class StackList(Wire, frozen=True, kw_only=True):
    """The answer to stack.list."""

    stacks: tuple[StackView, ...]


class GetStackHistory(Ask, frozen=True, kw_only=True):
    """stack.history. `specs`: numbers of the revisions whose services' specs are wanted, too."""

    stack: str
    specs: tuple[Count, ...] = ()


class StackRevisionView(Wire, frozen=True, kw_only=True):
    """One kept revision of a stack."""

    number: Count
    services: dict[str, StackMember] = {}
    created_at: Seconds = 0.0
    cause: str = ""
    target: bool = False
    """It is what was asked for last."""
    good: bool = False
    """All its services came up."""
    last_good: bool = False
    """It is the last of which that is so."""
    specs: dict[str, ServiceSpec] = {}


class StackHistory(Wire, frozen=True, kw_only=True):
    """The answer to stack.history, newest first."""

    stack: Token
    revisions: tuple[StackRevisionView, ...]


class RollbackStack(Command, frozen=True, kw_only=True):
    """stack.rollback: to revision `to`; to the last good one; or (neither) to the last good one before the target."""

    stack: str
    to: Count = 0
    last_good: bool = False
    preview: bool = False
    """Only tell what would be done."""


class StackRolledBack(DeployAnswer, frozen=True, kw_only=True):
    """The answer to stack.rollback. `pruned`: services that the older revision did not have."""

    revision: Count
    """Of the stack, that is its target now."""
    before: Count = 0
    """Of the stack, until now."""
    targets: dict[str, Count] = {}
    """Service -> the revision that was its target until now."""
    replicas: dict[str, Count] = {}
    """Service -> its replicas from now on, where they become others."""


STACK_REQUESTS: dict[str, tuple[type[Wire], type[Wire]]] = {
    "stack.deploy": (DeployStack, DeployAnswer),
    "stack.remove": (RemoveStack, Written),
    "stack.list": (Ask, StackList),
    "stack.history": (GetStackHistory, StackHistory),
    "stack.rollback": (RollbackStack, StackRolledBack),
}
