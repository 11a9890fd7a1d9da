"""A real Docker engine behind the port, in the API version that it speaks."""

from __future__ import annotations

from functools import partial

from agent.engine import docker_calls as calls
from agent.engine import docker_networks
from agent.engine.docker_containers import DockerContainers
from agent.engine.docker_images import DockerImages
from agent.engine.docker_line import Line
from agent.engine.labels import Owner
from agent.engine.model import (
    Container,
    EngineInfo,
    EngineNetwork,
    Volume,
)
from agent.engine.plans import NetworkPlan, VolumePlan
from agent.engine.probing import probe
from schemas.clock import Clock
from schemas.observation import BoundPort
from schemas.spec import ReadyCheck


class DockerEngine(DockerContainers, DockerImages):
    """An `Engine`. `address`: unix:///var/run/docker.sock or any other that docker-py takes."""

    def __init__(self, address: str, *, clock: Clock) -> None:
        line = Line(address)
        DockerContainers.__init__(self, line, clock)
        DockerImages.__init__(self, line)

    async def info(self) -> EngineInfo:
        return await self._line.look("info", calls.info)

    async def volumes(self) -> tuple[Volume, ...]:
        return await self._line.look("volumes", calls.volumes)

    async def create_volume(self, plan: VolumePlan) -> None:
        await self._line.change("create volume", lambda api: calls.ensure_volume(api, plan))

    async def remove_volume(self, name: str) -> None:
        await self._line.change("remove volume", lambda api: api.remove_volume(name))

    async def networks(self, owner: Owner) -> tuple[EngineNetwork, ...]:
        return await self._line.look("networks", partial(docker_networks.networks, owner=owner))

    async def create_network(self, plan: NetworkPlan) -> None:
        await self._line.change("create network", lambda api: docker_networks.create_network(api, plan))

    async def remove_network(self, name: str, owner: Owner) -> None:
        await self._line.change("remove network", lambda api: docker_networks.remove_network(api, name, owner))

    async def probe(self, container: Container, check: ReadyCheck) -> str:
        return await probe(next(iter(container.addresses.values()), "127.0.0.1"), check)

    async def other_ports(self, owner: Owner) -> tuple[BoundPort, ...]:
        return await self._line.look("ports", lambda api: calls.other_ports(api, owner))

    async def path_exists(self, path: str) -> bool:
        return await self._line.look("path", lambda _: calls.path_exists(path))

    async def close(self) -> None:
        for stream in self._streams:
            stream.close()
        self._line.close()
