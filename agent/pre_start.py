"""What runs to its end before a task's container is made: containers of their own, one after the other. Pure.

They are `<the task's container>.init<n>`, on the same volumes, networks and limits, with the service's settings where
their own say nothing. What has been done is read off the containers themselves, so that an agent that starts anew goes
on where the one before was: one that ended with code 0 is done, one that runs is waited for, one that failed is the
end of the task. So is one that somebody else told to end, and a shutdown of the machine: a code of 0 says nothing then.
They carry the owner's labels and `mesh.init`, but not the task's: nobody takes them for the task.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import msgspec

from agent.engine.container import TaskContext, plan_container
from agent.engine.labels import LABEL_INIT, LABEL_TASK
from agent.engine.model import Container
from agent.engine.plans import ContainerPlan
from agent.tasks import REBOOTED, TOLD
from schemas.assignment import container_name
from schemas.spec import ContainerSpec, HealthCheck, PreStart, TaskSpec


@dataclass(frozen=True)
class MakeInit:
    """Get the image, and make the container."""

    index: int


@dataclass(frozen=True)
class StartInit:
    """Start it."""

    container: str


@dataclass(frozen=True)
class AwaitInit:
    """It runs."""

    container: str


@dataclass(frozen=True)
class InitFailed:
    """The task has failed with it."""

    container: str
    why: str


@dataclass(frozen=True)
class InitsDone:
    """The task's own container may be made."""


InitStep: TypeAlias = MakeInit | StartInit | AwaitInit | InitFailed | InitsDone


def next_init(steps: Sequence[PreStart], seen: Mapping[int, Container], *, rebooted: bool = False) -> InitStep:
    """What to do now; `seen`: the containers that are there, by their number from 0. `rebooted`: since they began."""
    step = _next(steps, seen)
    if not rebooted or isinstance(step, InitFailed):
        return step
    last = max(seen, default=0)
    return InitFailed(seen[last].id if seen else "", f"pre_start {last + 1} of {len(steps)} failed: {REBOOTED}")


def _next(steps: Sequence[PreStart], seen: Mapping[int, Container]) -> InitStep:
    for index, _ in enumerate(steps):
        container = seen.get(index)
        if container is None:
            return MakeInit(index)
        if container.state == "created" and not container.error:
            return StartInit(container.id)
        if container.alive:
            return AwaitInit(container.id)
        if container.exit_code != 0 or container.error or container.oom_killed or container.told_to_end:
            return InitFailed(container.id, f"pre_start {index + 1} of {len(steps)} failed: {_how(container)}")
    return InitsDone()


def _how(container: Container) -> str:
    if container.oom_killed:
        return "out of memory"
    if container.error:
        return container.error
    code = f"exit code {container.exit_code}"
    return f"{TOLD} ({code})" if container.told_to_end else code


def init_name(service: str, slot: str, task: str, index: int) -> str:
    """The name of the container that runs the step."""
    return f"{container_name(service, slot, task)}.init{index + 1}"


def init_spec(spec: TaskSpec, step: PreStart) -> TaskSpec:
    """The task as the step runs it: its own settings over the service's, no ports, no health check."""
    own = spec.container
    other_image = bool(step.image) and step.image != own.image
    container: ContainerSpec = msgspec.structs.replace(
        own,
        image=step.image or own.image,
        image_id=step.image_id if other_image else own.image_id,
        entrypoint=step.entrypoint if step.entrypoint is not None or other_image else own.entrypoint,
        command=step.command,
        environment={**own.environment, **step.environment},
        user=step.user or own.user,
        working_dir=step.working_dir or ("" if other_image else own.working_dir),
        healthcheck=HealthCheck(test=("NONE",)),
        ports=(),
        ready=None,
    )
    return msgspec.structs.replace(spec, container=container, pre_start=())


def containers_of(spec: TaskSpec) -> tuple[ContainerSpec, ...]:
    """All that a task runs: its own container first, then what runs before it."""
    return (spec.container, *(init_spec(spec, step).container for step in spec.pre_start))


def plan_init(spec: TaskSpec, step: PreStart, index: int, context: TaskContext, image: str) -> ContainerPlan:
    """The create call of a step's container. `image`: the engine's own id of it."""
    plan = plan_container(init_spec(spec, step), context, image)
    labels = {key: value for key, value in plan.labels.items() if key != LABEL_TASK} | {LABEL_INIT: context.task}
    name = init_name(context.service, context.slot, context.task, index)
    return replace(plan, name=name, labels=labels, body={**plan.body, "Labels": labels})


def is_init(container: Container) -> bool:
    """Whether it was made for a step before a task."""
    return bool(container.labels.get(LABEL_INIT)) and not container.labels.get(LABEL_TASK)


def orphaned_inits(containers: Iterable[Container], tasks: Iterable[str]) -> tuple[Container, ...]:
    """Those of tasks that this agent does not know any more."""
    known = set(tasks)
    return tuple(one for one in containers if is_init(one) and one.labels[LABEL_INIT] not in known)
