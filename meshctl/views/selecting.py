"""Which rows --filter leaves: one function and one list of keys per noun."""

from __future__ import annotations

from meshctl.format.filters import Filters, has_labels, is_one_of, starts_with
from meshctl.views.states import desired_state, docker_state
from meshctl.views.tasks import task_name
from schemas.errors import UsageError
from schemas.memberapi import NodeView
from schemas.serviceapi import ServiceView
from schemas.taskapi import TaskView
from schemas.volumeapi import VolumeView

TASK_KEYS = ("id", "name", "node", "service", "desired-state", "state")
SERVICE_KEYS = ("id", "name", "mode", "label", "stack")
NODE_KEYS = ("id", "name", "label", "node.label", "role", "status", "availability")
VOLUME_KEYS = ("name", "node", "service", "dangling")


def task_admitted(task: TaskView, filters: Filters) -> bool:
    """docker service ps --filter."""
    return (
        starts_with(filters, "id", task.id)
        and starts_with(filters, "name", task_name(task), f"{task_name(task)}.{task.id}")
        and is_one_of(filters, "node", task.node)
        and is_one_of(filters, "service", task.service)
        and is_one_of(
            _lowered(filters, "desired-state", ("running", "shutdown", "accepted")),
            "desired-state",
            desired_state(task).lower(),
        )
        and is_one_of(_lowered(filters, "state", ()), "state", task.state, docker_state(task).lower())
    )


def service_admitted(view: ServiceView, filters: Filters) -> bool:
    """docker service ls --filter."""
    return (
        starts_with(filters, "id", view.record.name)
        and starts_with(filters, "name", view.record.name)
        and is_one_of(_lowered(filters, "mode", ("replicated", "global")), "mode", view.record.mode)
        and is_one_of(filters, "stack", view.record.stack)
        and has_labels(filters, "label", view.spec.labels)
    )


def node_admitted(view: NodeView, filters: Filters) -> bool:
    """docker node ls --filter."""
    role = ("manager", "controller") if view.facts.controller else ("worker",)
    return (
        starts_with(filters, "id", view.node, view.instance)
        and starts_with(filters, "name", view.node)
        and is_one_of(_lowered(filters, "role", ("manager", "controller", "worker")), "role", *role)
        and is_one_of(_lowered(filters, "status", ("ready", "not-ready", "down", "unknown")), "status", view.status)
        and is_one_of(
            _lowered(filters, "availability", ("active", "pause", "drain")), "availability", view.availability
        )
        and has_labels(filters, "label", view.facts.engine_labels)
        and has_labels(filters, "node.label", view.labels)
    )


def volume_admitted(view: VolumeView, filters: Filters) -> bool:
    """docker volume ls --filter."""
    dangling = "true" if not view.services else "false"
    return (
        starts_with(filters, "name", view.name)
        and is_one_of(filters, "node", view.node)
        and ("service" not in filters or any(service in view.services for service in filters["service"]))
        and is_one_of(_lowered(filters, "dangling", ("true", "false")), "dangling", dangling)
    )


def _lowered(filters: Filters, key: str, allowed: tuple[str, ...]) -> Filters:
    """The filters with the values of `key` in lower case. Raises UsageError for one that is not `allowed`."""
    if key not in filters:
        return filters
    values = [value.lower() for value in filters[key]]
    wrong = next((value for value in values if allowed and value not in allowed), None)
    if wrong is not None:
        raise UsageError(f"--filter: {key}={wrong} can't be", hint=f"{key} is one of {', '.join(allowed)}")
    return {**filters, key: values}
