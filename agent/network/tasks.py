"""What a task's worker asks of the networks: may it be made, may it be stopped. A node without networks has its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from agent.engine.plans import Join
from schemas.spec import TaskSpec


@dataclass(frozen=True)
class Links:
    """How a container is joined to its networks. `why`: it has to wait for that; `never`: it can't be."""

    joins: tuple[Join, ...] = ()
    dns: tuple[str, ...] = ()
    why: str = ""
    never: str = ""


class TaskNetworks(Protocol):
    """See the module."""

    def links(self, spec: TaskSpec) -> Links:
        """How the task's container is joined to its networks, now."""
        ...

    def may_stop(self, task: str, grace: float) -> bool:
        """Whether it may get its stop signal (`agent.network.leaving`). Asked again and again."""
        ...


class NoNetworks:
    """On a node that can't have networks."""

    def __init__(self, why: str) -> None:
        self.why = why

    def links(self, spec: TaskSpec) -> Links:
        return Links(never=self.why if spec.container.networks else "")

    def may_stop(self, task: str, grace: float) -> bool:  # noqa: ARG002 (the port's)
        return True
