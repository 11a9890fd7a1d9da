"""task.list and task.inspect."""

from __future__ import annotations

from controller import task_views
from controller.api.desk import Desk, not_found
from schemas.errors import NotFound
from schemas.taskapi import InspectTask, ListTasks, TaskDetail, TaskList


async def list_all(desk: Desk, request: ListTasks) -> TaskList:
    """Tasks, waiting slots and, if asked for, history. Raises NotFound for a filter that names nothing."""
    await desk.ready_to_read(request)
    _check(desk, request)
    tasks = task_views.listed(desk.records, desk.mirror.observations, request)
    return TaskList(tasks=tuple(tasks), sequence=desk.mirror.sequence)


async def inspect(desk: Desk, request: InspectTask) -> TaskDetail:
    """One task by id, unique prefix, or container id. Raises NotFound, Refused (several match)."""
    await desk.ready_to_read(request)
    found = task_views.find(desk.records, desk.mirror.observations, request.task)
    if found is None:
        raise NotFound(f"there is no task {request.task!r}", hint="see meshctl service ps")
    return found


def _check(desk: Desk, request: ListTasks) -> None:
    records = desk.records
    if request.service and request.service not in records.services:
        raise not_found("service", request.service, list(records.services))
    if request.node and request.node not in records.nodes:
        raise not_found("node", request.node, list(records.nodes))
    stacks = {stored.record.stack for stored in records.services.values()} | set(records.stacks)
    if request.stack and request.stack not in stacks:
        raise not_found("stack", request.stack, sorted(stacks))
