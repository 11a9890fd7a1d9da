"""What an agent knows of one task: kept on disk, so that a restart neither forgets an end nor tells it twice."""

from __future__ import annotations

import re

import msgspec

from agent.engine.labels import (
    LABEL_REVISION,
    LABEL_SERVICE,
    LABEL_SLOT,
    LABEL_SPEC,
    LABEL_STACK,
    LABEL_STOP_AFTER,
    LABEL_TASK,
)
from agent.engine.model import Container
from schemas.assignment import AssignedTask
from schemas.observation import ENDED, BoundPort, Health, ObservedTask, TaskState
from schemas.wire import Count, Seconds, Wire

_SUCCESSOR = re.compile(r"^(?P<root>.+)\.r(?P<number>[0-9]+)$")


class LocalTask(Wire, frozen=True, kw_only=True):
    """A task on this node. `state` moves forwards only (`agent.tasks.FORWARD`)."""

    id: str
    service: str
    slot: str
    revision: Count = 0
    spec: str = ""
    stack: str = ""
    cause: str = ""
    state: TaskState = "new"
    since: Seconds = 0.0
    health: Health = ""
    not_ready: str = ""
    """Why it is not ready, by this agent's own check; "": it is, or is not checked."""
    container: str = ""
    image: str = ""
    """The engine's id of its image, once that is here."""
    exit_code: int | None = None
    oom_killed: bool = False
    error: str = ""
    log_tail: tuple[str, ...] = ()
    ports: tuple[BoundPort, ...] = ()
    ran: Seconds = 0.0
    addresses: dict[str, str] = {}
    """Network of the mesh -> its address there, while its container runs."""
    predecessor: str = ""
    """Of a successor: the assigned task whose place it holds."""
    started: bool = False
    """Its container runs or has run."""
    boot: str = ""
    """The machine's boot in which it was last seen to run; "": not known."""
    asked: bool = False
    """Its end was asked for: by the assignment, or by being left out of it."""
    verdict: str = ""
    """Why this agent ends it as failed: an unhealthy container."""
    flaps: Count = 0
    """How often its health has changed: numbers the events of it."""
    stop_after: Seconds = 0.0
    """As in its spec, for the time in which that is not known."""
    inits: Count = 0
    """So many containers may be there that run before its own, which are still to be removed."""
    inits_boot: str = ""
    """The machine's boot in which these were begun; "": not known."""
    end_stored: bool = False
    """An observation made after its end was stored: it may be forgotten once no assignment names it."""

    @property
    def ended(self) -> bool:
        """Nothing of it runs any more, and never will."""
        return self.state in ENDED

    @property
    def number(self) -> int:
        """Which successor of the leader's task this is; 0: it is that task."""
        return successor_number(self.id)

    def observed(self) -> ObservedTask:
        """As the mesh is told of it."""
        shared = {name: getattr(self, name) for name in ObservedTask.__struct_fields__}
        return ObservedTask(**shared)


def local_task(assigned: AssignedTask, now: float, predecessor: str = "", *, stop_after: float = 0.0) -> LocalTask:
    """A task that nothing was done for yet. `now`: wall clock. `stop_after`: its spec's."""
    return LocalTask(
        id=assigned.id,
        service=assigned.service,
        slot=assigned.slot,
        revision=assigned.revision,
        spec=assigned.spec,
        stack=assigned.stack,
        cause=assigned.cause,
        since=now,
        predecessor=predecessor,
        stop_after=stop_after,
    )


def task_of_container(container: Container, now: float) -> LocalTask | None:
    """The task that a container was made for, by its labels; None: they are not such labels."""
    labels = container.labels
    task, service, slot = (labels.get(key, "") for key in (LABEL_TASK, LABEL_SERVICE, LABEL_SLOT))
    revision = labels.get(LABEL_REVISION, "")
    if not (task and service and slot):
        return None
    return LocalTask(
        id=task,
        service=service,
        slot=slot,
        revision=int(revision) if revision.isdecimal() else 0,
        spec=labels.get(LABEL_SPEC, ""),
        stack=labels.get(LABEL_STACK, ""),
        since=now,
        image=container.image,
        stop_after=_seconds(labels.get(LABEL_STOP_AFTER, "")),
        predecessor=root_of(task) if is_successor(task) else "",
    )


def _seconds(text: str) -> float:
    try:
        return max(0.0, float(text))
    except ValueError:
        return 0.0


def is_successor(task: str) -> bool:
    """Whether an agent made up this id."""
    return _SUCCESSOR.match(task) is not None


def root_of(task: str) -> str:
    """The id that the leader gave: of a successor its first ancestor's."""
    match = _SUCCESSOR.match(task)
    return match["root"] if match else task


def successor_id(task: str, number: int) -> str:
    """The id of the `number`-th successor of `task` (or of the task that `task` descends from)."""
    return f"{root_of(task)}.r{number}"


def successor_number(task: str) -> int:
    """0 for a task of the leader's."""
    match = _SUCCESSOR.match(task)
    return int(match["number"]) if match else 0


def as_assigned(task: AssignedTask, successor: str) -> AssignedTask:
    """The same work under the id of a successor."""
    return msgspec.structs.replace(task, id=successor)
