"""Doing: no room on the disk of an engine, no memory for a task; each has to be told with its true reason."""

from __future__ import annotations

import time

from benchmarks.turmoil.ground import Ground
from benchmarks.turmoil.remains import running
from benchmarks.turmoil.stack import STACK
from meshctl.client import Mesh
from schemas.serviceapi import PutService, ServiceDeploy
from schemas.spec import Constraint, ContainerSpec, Placement, RestartPolicy, ServiceSpec, TaskSpec

PATIENCE = 90.0
"""Seconds in which it must be told, whoever leads meanwhile."""

GREEDY = f"{STACK}_greedy"
LATE = "late"
"""A service that is deployed while the disk is full."""

BUSYBOX = "dockmesh/busybox:1"
NO_ROOM = "no space left on device"
NO_MEMORY = "out of memory"
FILL = "dd if=/dev/zero of=/full bs=64k; exec sleep 100000"


def fill_disk(ground: Ground, node: str, seconds: float) -> None:
    """Somebody's container fills the disk of a node's engine. What is to begin there can't, and it is told why.

    What runs runs on, and what was to begin does once there is room. Raises MeshError.
    """
    engine, began, before = ground.engine(node), time.time(), ground.containers(node)
    filling = engine.run(BUSYBOX, "sh", "-c", FILL, host={"Init": True})
    try:
        if not ground.wait(f"the disk of {node} is full", lambda: _room(ground, node) == 0, PATIENCE):
            return
        _begin(ground, node)
        ground.wait(
            f"it is told that {node} has {NO_ROOM}",
            lambda: any(NO_ROOM in event.why for event in ground.events(began, "task.failed", service=LATE, node=node)),
            PATIENCE,
        )
        ground.untouched(before, seconds, f"while the disk of {node} is full", node)
        ground.wait(f"{node} is ready, though its disk is full", lambda: _ready(ground, node), PATIENCE)
    finally:
        engine.remove(filling)
    ground.wait(f"{LATE} runs once there is room", lambda: bool(running(engine, f"mesh.service={LATE}")), PATIENCE)

    async def remove(mesh: Mesh) -> None:
        await mesh.remove_services([LATE])

    ground.wait(f"{LATE} is removed", lambda: ground.ask(remove) is None, PATIENCE)


def _begin(ground: Ground, node: str) -> None:
    container = ContainerSpec(image=BUSYBOX, command=("sleep", "100000"), init=True, stop_grace=1.0)
    here = Placement(constraints=(Constraint(key="node.id", op="==", value=node),))
    often = RestartPolicy(max_delay=5.0)
    task = TaskSpec(container=container, placement=here, restart=often)
    request = PutService(service=ServiceDeploy(spec=ServiceSpec(name=LATE, task=task), replicas=1))

    async def put(mesh: Mesh) -> None:
        await mesh.put_service(request)

    ground.ask(put)


def _room(ground: Ground, node: str) -> int:
    """Kilobytes that are free on the disk of a node's engine."""
    folder = str(ground.lab.paths.machine(node) / "engine")
    return int(ground.lab.exec(node, ["df", "--output=avail", folder]).stdout.split()[-1])


def _ready(ground: Ground, node: str) -> bool:
    return any(view.node == node and view.status == "ready" for view in ground.eye.nodes())


def exhaust_memory(ground: Ground, node: str) -> None:
    """The task that waits for it allocates until the kernel ends it: two events name that task and the reason."""
    began, engine = time.time(), ground.engine(node)
    (container,) = running(engine, f"mesh.service={GREEDY}")
    engine.signal(container["Id"], "SIGUSR1")
    task = container["Labels"]["mesh.task"]

    def told() -> bool:
        found = [event for event in ground.events(began - 5, service=GREEDY) if event.task == task]
        failed = any(event.kind == "task.failed" and NO_MEMORY in event.why for event in found)
        return failed and any(event.kind == "task.oom" for event in found)

    ground.wait(f"it is told that task {task} was {NO_MEMORY}", told, PATIENCE)
