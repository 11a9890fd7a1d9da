"""Services on a network, and what stories of networks look at."""

from __future__ import annotations

from typing import Any

from schemas.network import Attachment, NetworkRecord
from schemas.ports import Port
from schemas.serviceapi import ServiceDeploy
from schemas.spec import ContainerSpec, HealthCheck, ServiceSpec, TaskSpec, UpdatePolicy
from schemas.stackapi import DeployStack
from tests.sim.networks import NetworkWatch, unsettled_networks, up
from tests.sim.test_world import slots
from tests.sim.world import World

NET = NetworkRecord(name="shop_net", stack="shop")


def web(image: str = "slow:1", replicas: int = 3, name: str = "shop_web", **more: Any) -> ServiceDeploy:
    container = ContainerSpec(
        image=image,
        healthcheck=HealthCheck(test=("CMD", "true")),
        networks=(Attachment(network="shop_net"),),
        ports=more.pop("ports", (Port(target=80, published=8080, mode="ingress"),)),
        environment=more.pop("environment", {}),
    )
    update = UpdatePolicy(**{"monitor": 1.0, "order": "start-first", **more})
    return ServiceDeploy(
        spec=ServiceSpec(name=name, stack="shop", task=TaskSpec(container=container), update=update),
        replicas=replicas,
    )


async def deploy(world: World, *services: ServiceDeploy) -> None:
    await world.insist("stack.deploy", DeployStack(stack="shop", services=services, networks=(NET,)))


async def level(world: World, count: int, seconds: float = 60) -> float:
    """Until so many tasks run and all nodes send to exactly these."""
    await world.until(lambda: world.running("shop_web") == slots(count), seconds, f"{count} slots run")
    return await world.until(
        lambda: not unsettled_networks(world) and len(up(world, "shop_net", "shop_web")) == count,
        30,
        "all nodes send to those that are up",
    )


def watched(world: World) -> tuple[NetworkWatch, list[str]]:
    violations: list[str] = []
    return NetworkWatch(world, violations.append), violations


def published(world: World) -> set[int]:
    """The ports that all nodes hold."""
    return {port for node in world.nodes.values() for _, port in node.machine.held}
