"""Who runs on a node besides: services that are wanted beside a task, and services that avoid each other. Pure.

Avoiding is mutual: where a task of `web` runs that avoids `db`, no `db` is placed either. A task that is ending still
runs; for what must be beside only tasks that are to run count. Nothing that runs is ever moved for it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from controller.reasons import Miss
from schemas.spec import Placement


@dataclass(frozen=True, slots=True)
class Member:
    """One task of a node, as its neighbours see it."""

    service: str
    avoids: tuple[str, ...] = ()
    stays: bool = True
    """It is to run; else it is ending."""


@dataclass(slots=True)
class Company:
    """The tasks of one node that have not ended."""

    members: dict[str, Member] = field(default_factory=dict)
    """By task."""
    there: Counter[str] = field(default_factory=Counter)
    """Tasks by service."""
    staying: Counter[str] = field(default_factory=Counter)
    """Of these, those that are to run."""
    avoided: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(who is avoided, by whom) -> by how many tasks."""

    def add(self, task: str, member: Member) -> None:
        """A task is there."""
        self.members[task] = member
        self._count(member, 1)

    def without(self, task: str) -> Company:
        """The company if that task had ended."""
        member = self.members.get(task)
        if member is None:
            return self
        rest = {other: each for other, each in self.members.items() if other != task}
        less = Company(rest, self.there.copy(), self.staying.copy(), self.avoided.copy())
        less._count(member, -1)
        return less

    def avoiding(self, service: str) -> str:
        """A service there that avoids `service`; "": none."""
        return min((by for (who, by), tasks in self.avoided.items() if who == service and tasks > 0), default="")

    def _count(self, member: Member, by: int) -> None:
        self.there[member.service] += by
        self.staying[member.service] += by * member.stays
        for other in member.avoids:
            self.avoided[other, member.service] += by


def company_miss(service: str, placement: Placement, company: Company) -> Miss | None:
    """What keeps a task of `service` off a node with that company."""
    for other in placement.anti_affinity:
        if company.there[other] > 0:
            own = other == service
            return _runs("a task of it already" if own else f"service {other} which {service} avoids")
    if company.avoided and (by := company.avoiding(service)):
        return _runs(f"service {by} which avoids {service}")
    for other in placement.affinity:
        if company.staying[other] <= 0:
            return Miss(f"does not run service {other}", f"do not run service {other}", f"does not run service {other}")
    return None


def _runs(what: str) -> Miss:
    return Miss(f"runs {what}", f"run {what}", f"runs {what}")
