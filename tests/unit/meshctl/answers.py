"""What a scripted mesh answers with: two tasks of one service on two nodes."""

from __future__ import annotations

from typing import Any

from schemas.memberapi import NodeView
from schemas.records import RolloutRecord, ServiceRecord
from schemas.serviceapi import DeployAnswer, Deployed, ServiceView
from schemas.spec import ContainerSpec, ServiceSpec, TaskSpec, UpdatePolicy
from schemas.taskapi import TaskView

COMPOSE = """
services:
  web:
    image: hello:1
    deploy: {replicas: 2, update_config: {monitor: 0s}}
"""

NOW = 1_790_000_000.0


def node(name: str, status: str = "ready", **fields: Any) -> NodeView:
    return NodeView(node=name, status=status, availability=fields.pop("availability", "active"), **fields)


def service(name: str = "hello_web", running: int = 2, desired: int = 2, **rollout: Any) -> ServiceView:
    spec = ServiceSpec(
        name=name,
        task=TaskSpec(container=ContainerSpec(image="hello:1", image_id="sha256:abc")),
        update=UpdatePolicy(monitor=0.0),
    )
    fields = {"intent": 5, "wanted": desired, "running": running, "updated": desired, "phase": "done", **rollout}
    return ServiceView(
        record=ServiceRecord(name=name, stack="hello", target=1, replicas=desired),
        spec=spec,
        sequence=5,
        rollout=RolloutRecord(service=name, **fields),
        running=running,
        desired=desired,
    )


def task(slot: str, state: str = "running", **fields: Any) -> TaskView:
    values = {
        "id": f"a-{slot}",
        "service": "hello_web",
        "stack": "hello",
        "node": "n1",
        "image": "sha256:abc",
        "container": f"c{slot}ffff",
    }
    return TaskView(**{**values, "slot": slot, "state": state, "revision": 1, **fields})


def deployed(change: str = "created") -> DeployAnswer:
    return DeployAnswer(sequence=5, services=(Deployed(service="hello_web", change=change, revision=1, deploy=1),))
