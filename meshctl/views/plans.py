"""A plan of a deploy, in words. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from meshctl.views.differences import differences
from meshctl.views.status import reason_text
from schemas.planapi import PlannedService, PlannedTask, StackPlan

TASKS_TOLD = 40
"""Tasks that are told by name; of the others how many there are."""

WORDS = {"created": "to create", "updated": "to update", "scaled": "to scale", "removed": "to remove"}


def plan_lines(plan: StackPlan) -> list[str]:
    """The difference by service and field, the tasks with reasons, and what would find no place."""
    if not plan.changes:
        return [f"Stack {plan.stack} is as the files say: nothing to do."]
    lines = [f"Stack {plan.stack}: {_summary(plan)}"]
    lines += [f"+ network {name}" for name in plan.networks]
    for service in plan.services:
        lines += _service_lines(service)
    tasks = [f"  - {_task(each)}" for each in plan.ends] + [f"  + {_task(each)}" for each in plan.starts]
    if tasks:
        more = len(tasks) - TASKS_TOLD
        lines += ["Tasks:", *tasks[:TASKS_TOLD], *([f"  ... and {more} more"] if more > 0 else [])]
    waits = [f"  {each.service}: {reason_text(reason)}" for each in plan.services for reason in each.waits]
    if waits:
        lines += ["Not placed:", *waits]
    if not plan.whole:
        lines.append("There is more to come than was looked at.")
    return lines


def _summary(plan: StackPlan) -> str:
    found = {word: sum(each.change == change for each in plan.services) for change, word in WORDS.items()}
    told = [f"{count} {'service' if count == 1 else 'services'} {word}" for word, count in found.items() if count]
    return ", ".join(told) or "its networks are to be made"


def _service_lines(service: PlannedService) -> Iterator[str]:
    match service.change:
        case "created":
            yield f"+ service {service.service}: {_size(service)}{_image(service)}"
        case "removed":
            yield f"- service {service.service}"
        case "unchanged":
            return
        case _:
            yield f"~ service {service.service}: {_revisions(service)}"
            if service.replicas != service.replicas_before:
                yield f"    ~ replicas: {service.replicas_before} -> {service.replicas}"
            if service.before is not None and service.after is not None:
                yield from (f"    {line}" for line in differences(service.before, service.after))


def _revisions(service: PlannedService) -> str:
    if service.revision == service.revision_before:
        return "once more, since its last rollout failed" if service.change == "updated" else "scaled"
    return f"revision {service.revision_before} -> {service.revision}"


def _size(service: PlannedService) -> str:
    if service.after is not None and service.after.mode == "global":
        return "one task on each fitting node"
    return f"{service.replicas} task{'' if service.replicas == 1 else 's'}"


def _image(service: PlannedService) -> str:
    return f", image {service.after.task.container.image}" if service.after is not None else ""


def _task(task: PlannedTask) -> str:
    return f"{task.service}.{task.slot} on {task.node}: {task.why or 'no reason is known'}"
