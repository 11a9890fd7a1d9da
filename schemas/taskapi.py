"""Requests about tasks and their answers."""

from __future__ import annotations

from schemas.observation import BoundPort, EndedTask, Health
from schemas.requests import Ask
from schemas.spec import ServiceSpec
from schemas.wire import Count, Seconds, Token, Wire


class ListTasks(Ask, frozen=True, kw_only=True):
    """task.list; empty filters mean all. `ended`: with the last 5 ended tasks of each slot."""

    service: str = ""
    stack: str = ""
    node: str = ""
    ended: bool = True


class TaskView(Wire, frozen=True, kw_only=True):
    """A task, or (without an id) a slot that waits for one.

    `state`: pending | assigned | new | pulling | starting | running | stopping | exited | failed | lost.
    """

    id: str
    service: Token
    slot: str
    state: str
    desired: str = "running"
    """running | shutdown."""
    stack: str = ""
    node: str = ""
    revision: Count = 0
    image: str = ""
    since: Seconds = 0.0
    health: Health = ""
    not_ready: str = ""
    error: str = ""
    why: str = ""
    container: str = ""
    exit_code: int | None = None
    oom_killed: bool = False
    log_tail: tuple[str, ...] = ()
    ports: tuple[BoundPort, ...] = ()
    current: bool = True
    """Whether the slot counts on it (False: history, or being replaced)."""


class TaskList(Wire, frozen=True, kw_only=True):
    """The answer to task.list."""

    tasks: tuple[TaskView, ...]
    sequence: Count = 0


class InspectTask(Ask, frozen=True, kw_only=True):
    """task.inspect: by id, unique prefix of it, or container id."""

    task: str


class TaskDetail(Wire, frozen=True, kw_only=True):
    """The answer to task.inspect."""

    task: TaskView
    spec: ServiceSpec | None = None
    ended: EndedTask | None = None
    placement: str = ""
    """Why it is where it is."""


TASK_REQUESTS: dict[str, tuple[type[Wire], type[Wire]]] = {
    "task.list": (ListTasks, TaskList),
    "task.inspect": (InspectTask, TaskDetail),
}
