"""Rows of `service ps`, `stack ps`, `node ps`: slots in order, each with its current task first, history below."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from meshctl.format.output import Column, Listing, Row
from meshctl.format.times import ago
from meshctl.views.states import COLOURS, desired_state, docker_state, ended, trouble
from schemas.observation import BoundPort
from schemas.serviceapi import ServiceView
from schemas.taskapi import TaskView

HISTORY = " \\_ "
"""What docker puts before the name of a task that is history of the line above."""

COLUMNS = (
    Column("ID", "ID"),
    Column("NAME", "Name"),
    Column("IMAGE", "Image", 40, gives=12),
    Column("NODE", "Node"),
    Column("DESIRED STATE", "DesiredState"),
    Column("CURRENT STATE", "CurrentState", colour=lambda row: COLOURS.get(row["Word"], "")),
    Column("ERROR", "Error", 60, colour=lambda row: "red" if row["Desired"] == "running" else "", gives=16),
    Column("PORTS", "Ports", 40, gives=20),
)


def task_listing(
    tasks: Iterable[TaskView], now: float, *, images: Mapping[str, str] | None = None, no_trunc: bool = False
) -> Listing:
    """The listing of `tasks`; times are told relative to `now` (seconds since 1970).

    `images`: names of images by their ids, for tasks of which only the id is known.
    """
    rows: list[Row] = []
    above = ("", "")
    for task in in_order(tasks):
        slot = (task.service, task.slot)
        image = (images or {}).get(task.image, task.image)
        rows.append(_row(task, now, image_text(image, no_trunc=no_trunc), history=slot == above, no_trunc=no_trunc))
        above = slot
    return Listing(columns=COLUMNS, rows=rows, key="ID")


def in_order(tasks: Iterable[TaskView]) -> list[TaskView]:
    """By service and slot; in a slot what counts first, then what still lives, then history, newest first."""
    return sorted(tasks, key=lambda task: (task.service, slot_order(task.slot), _rank(task), -task.since, task.id))


def slot_order(slot: str) -> tuple[int, int, str]:
    """Numbers in their order, then names."""
    return (0, int(slot), "") if slot.isdigit() else (1, 0, slot)


def task_name(task: TaskView) -> str:
    """`service.slot`, Docker's name for it."""
    return f"{task.service}.{task.slot}"


def ports_text(ports: Iterable[BoundPort]) -> str:
    """`*:32768->80/tcp`, each once."""
    ordered = sorted(ports, key=lambda port: (port.target, port.published, port.protocol))
    return ", ".join(
        dict.fromkeys(f"{_host(port)}:{port.published}->{port.target}/{port.protocol}" for port in ordered)
    )


def _host(port: BoundPort) -> str:
    return "*" if port.host_ip in ("", "0.0.0.0", "::") else port.host_ip


def image_text(image: str, *, no_trunc: bool = False) -> str:
    """An image reference without its digest, as docker lists it."""
    if no_trunc:
        return image
    return image[: len("sha256:") + 12] if image.startswith("sha256:") else image.split("@", 1)[0]


def image_names(services: Iterable[ServiceView]) -> dict[str, str]:
    """Names of images by the ids that services pinned them to."""
    containers = [view.spec.task.container for view in services]
    return {container.image_id: container.image for container in containers if container.image_id}


def _rank(task: TaskView) -> int:
    if ended(task):
        return 2
    return 0 if task.current and task.desired == "running" else 1


def _row(task: TaskView, now: float, image: str, *, history: bool, no_trunc: bool) -> dict[str, Any]:
    word = docker_state(task)
    when = ago(task.since, now)
    return {
        "ID": task.id,
        "Name": (HISTORY if history else "") + task_name(task),
        "Image": image,
        "Node": task.node,
        "DesiredState": desired_state(task),
        "CurrentState": f"{word} {when[:1].lower()}{when[1:]}" if when else word,
        "Error": trouble(task),
        "Ports": ports_text(task.ports),
        "Service": task.service,
        "Slot": task.slot,
        "State": task.state,
        "Health": task.health,
        "Word": word,
        "Desired": task.desired if not ended(task) else "shutdown",
        "Revision": task.revision,
        "Container": task.container if no_trunc else task.container[:12],
        "ExitCode": task.exit_code,
        "Why": task.why,
        "Current": task.current,
    }
