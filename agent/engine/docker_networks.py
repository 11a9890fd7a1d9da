"""Docker's networks of the mesh: synchronous calls, as in `docker_calls`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import docker
import docker.errors
from docker.types import IPAMConfig, IPAMPool

from agent.engine.docker_views import Json
from agent.engine.labels import Owner, owner_of
from agent.engine.model import EngineNetwork
from agent.engine.plans import Join, NetworkPlan
from schemas.errors import Conflict

Api = docker.APIClient

BRIDGE_NAME = "com.docker.network.bridge.name"
MTU = "com.docker.network.driver.mtu"


def networks(api: Api, owner: Owner) -> tuple[EngineNetwork, ...]:
    """Those of that owner, by name."""
    labels = [f"{key}={value}" for key, value in owner.labels.items()]
    found: list[Json] = api.networks(filters={"label": labels})
    return tuple(sorted((network_view(each) for each in found), key=lambda each: each.name))


def network_view(data: Json) -> EngineNetwork:
    """An entry of Docker's list."""
    options: dict[str, Any] = data.get("Options") or {}
    ranges: list[Json] = (data.get("IPAM") or {}).get("Config") or [{}]
    mtu = str(options.get(MTU, "0"))
    return EngineNetwork(
        name=data["Name"],
        device=options.get(BRIDGE_NAME, ""),
        subnet=ranges[0].get("Subnet", ""),
        range=ranges[0].get("IPRange", ""),
        mtu=int(mtu) if mtu.isdigit() else 0,
        internal=bool(data.get("Internal")),
        labels=dict(data.get("Labels") or {}),
    )


def create_network(api: Api, plan: NetworkPlan) -> None:
    """Make it; one of that name and owner is it already. Raises Conflict for one of somebody else."""
    for each in api.networks(names=[plan.name]):
        if each["Name"] == plan.name:
            if owner_of(each.get("Labels") or {}) == owner_of(plan.labels):
                return
            raise Conflict(f"network {plan.name} is not of this mesh and node: left alone")
    pool = IPAMPool(plan.subnet, plan.range, plan.gateway, dict(plan.reserved))
    api.create_network(
        plan.name,
        driver="bridge",
        check_duplicate=True,
        internal=plan.internal,
        labels=dict(plan.labels),
        options={BRIDGE_NAME: plan.device, MTU: str(plan.mtu)},
        ipam=IPAMConfig(pool_configs=[pool]),
    )


def remove_network(api: Api, name: str, owner: Owner) -> None:
    """Remove it if it is that owner's; one that is gone is fine. Raises Conflict while a container runs on it."""
    if any(each.name == name for each in networks(api, owner)):
        try:
            api.remove_network(name)
        except docker.errors.NotFound:
            return
        except docker.errors.APIError as error:
            if "active endpoints" in str(error.explanation):
                raise Conflict(f"network {name} has running containers") from None
            raise


def attach(api: Api, container: str, joins: Iterable[Join]) -> None:
    """Put a container that does not run yet on these networks, too."""
    there = (api.inspect_container(container).get("NetworkSettings") or {}).get("Networks") or {}
    for join in joins:
        if join.network not in there:
            api.connect_container_to_network(container, join.network)
