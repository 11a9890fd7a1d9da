"""Requests about a service's revisions and rollout, and their answers."""

from __future__ import annotations

from schemas.requests import Ask, Command, Written
from schemas.serviceapi import DeployAnswer
from schemas.spec import ServiceSpec
from schemas.wire import Count, Seconds, Token, Wire


class GetHistory(Ask, frozen=True, kw_only=True):
    """service.history."""

    service: str


class RevisionView(Wire, frozen=True, kw_only=True):
    """One kept revision."""

    number: Count
    spec: ServiceSpec
    created_at: Seconds = 0.0
    cause: str = ""
    target: bool = False
    """It is what was asked for last."""
    runs: bool = False
    """It is what holds: after an automatic roll-back another one than the target."""
    good: bool = False
    """It is the last that came up as a whole."""


class History(Wire, frozen=True, kw_only=True):
    """The answer to service.history, newest first."""

    service: Token
    revisions: tuple[RevisionView, ...]


class RollbackService(Command, frozen=True, kw_only=True):
    """service.rollback; `to` 0: the last good revision if the target is not it, else the one before."""

    service: str
    to: Count = 0
    canary: bool = False
    """Only while a canary is under way: it is aborted."""


class PromoteService(Command, frozen=True, kw_only=True):
    """service.promote: the canary stands, now all slots get its revision."""

    service: str


class PauseServices(Command, frozen=True, kw_only=True):
    """service.pause: halt rollouts, or (`paused` False) let them go on."""

    services: tuple[str, ...]
    paused: bool = True


REVISION_REQUESTS: dict[str, tuple[type[Wire], type[Wire]]] = {
    "service.history": (GetHistory, History),
    "service.rollback": (RollbackService, DeployAnswer),
    "service.promote": (PromoteService, Written),
    "service.pause": (PauseServices, Written),
}
