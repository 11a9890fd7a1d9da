"""What people of a simulated mesh deploy: services of all kinds, from chance."""

from __future__ import annotations

import random

import msgspec

from schemas.network import Attachment, NetworkRecord
from schemas.ports import Port
from schemas.serviceapi import ServiceDeploy
from schemas.spec import (
    ContainerSpec,
    Dependency,
    HealthCheck,
    Mode,
    ReadyCheck,
    RestartPolicy,
    ServiceSpec,
    TaskSpec,
    UpdatePolicy,
)

ENDING = frozenset({"shop_job", "shop_crash"})
"""Services whose tasks end by themselves: how many run at a moment is not fixed."""

ALONE = "shop_one"
"""The service of which no slot may ever run twice."""

STOP_AFTER = 12.0

NAMES = (*("shop_web",) * 6, *("shop_slow",) * 2, *("shop_edge",) * 2, ALONE, ALONE, "shop_job", "shop_crash")
IMAGES = {"shop_slow": "slow:1", "shop_job": "job:1", "shop_crash": "crash:1"}
GOOD = ("app:1", "app:2")
BAD = "crash:1"
WEB = (*GOOD, "app:2", BAD)
CANARIES = frozenset({"shop_web", "shop_edge"})
ORIGINALS = frozenset({"shop_slow"})
"""Services whose tasks are taken back with a lost node that returns."""

JOINED = frozenset({"shop_web", "shop_slow"})
NETWORK = NetworkRecord(name="shop_net", stack="shop")
SLOW = Dependency(service="shop_slow", condition="service_healthy", required=False, restart=True)


def a_service(rng: random.Random, name: str = "") -> ServiceDeploy:
    """A deploy of one service of the stack "shop"."""
    name = name or rng.choice(NAMES)
    image = IMAGES.get(name) or rng.choice(
        ("app:1", "app:2", "app:2", "crash:1") if name == "shop_web" else ("app:1", "app:2")
    )
    mode: Mode = "global" if name == "shop_edge" else "replicated"
    spec = ServiceSpec(
        name=name,
        stack="shop",
        task=_task(rng, name, image),
        mode=mode,
        on_reconnect="keep-original" if name in ORIGINALS else "keep-replacement",
        update=_policy(rng, name),
        rollback=_policy(rng, name),
        depends_on=(SLOW,) if image == "app:2" and name == "shop_web" else (),
    )
    replicas = None if mode == "global" else rng.randint(1, 2 if name == ALONE else 6)
    canary = rng.choice((0, 0, 1, 3)) if name in CANARIES else 0
    return ServiceDeploy(spec=spec, replicas=replicas, canary=canary)


def _task(rng: random.Random, name: str, image: str) -> TaskSpec:
    joined = name in JOINED and rng.random() < 0.7
    container = ContainerSpec(
        image=image,
        healthcheck=HealthCheck(test=("CMD", "true")) if name == "shop_slow" else None,
        ready=ReadyCheck(port=80, interval=2.0) if rng.random() < 0.3 else None,
        environment={"N": str(rng.randint(1, 3))},
        networks=(Attachment(network=NETWORK.name),) if joined else (),
        ports=(Port(target=80, published=8080, mode="ingress"),) if joined and name == "shop_web" else (),
        stop_grace=2.0 if name == ALONE else 10.0,
    )
    condition = "on-failure" if name == "shop_job" else "any"
    restart = RestartPolicy(condition=condition, max_delay=20.0)  # type: ignore[arg-type]
    return TaskSpec(container=container, restart=restart, stop_after=STOP_AFTER if name == ALONE else 0.0)


def _policy(rng: random.Random, name: str) -> UpdatePolicy:
    order = "stop-first" if name == ALONE else rng.choice(("stop-first", "start-first"))
    return UpdatePolicy(
        parallelism=rng.randint(0, 3),
        order=order,  # type: ignore[arg-type]
        failure_action=rng.choice(("pause", "continue", "rollback")),  # type: ignore[arg-type]
        delay=rng.choice((0.0, 0.0, 2.0)),
        monitor=rng.choice((0.0, 1.0, 5.0)),
        max_unavailable=rng.choice(("", "1", "50%")),
    )


def with_image(spec: ServiceSpec, image: str) -> ServiceSpec:
    """The same service from another image."""
    container = msgspec.structs.replace(spec.task.container, image=image, image_id="")
    return msgspec.structs.replace(spec, task=msgspec.structs.replace(spec.task, container=container))
