"""What this machine is and holds besides the tasks: facts, volumes, ports that others have taken."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import structlog

from agent.engine.labels import Owner
from agent.engine.model import EngineInfo
from agent.engine.port import Engine
from agent.guards import sleep_unless
from agent.network import port as network
from schemas.errors import MeshError
from schemas.observation import BoundPort, NodeFacts
from schemas.version import VERSION

_ANONYMOUS = re.compile("[0-9a-f]{64}")

SURVEY_EVERY = 30.0
RETRY = 2.0
"""Seconds after a survey that failed: without one a node gets no tasks that need networks."""
SETTLE = 0.3
"""Seconds that a survey waits for more of the same: new containers come in crowds."""

log = structlog.get_logger()


@dataclass(frozen=True)
class Machine:
    """What the operator told this agent about its machine."""

    hostname: str = ""
    address: str = ""
    controller_here: bool = False


def agent_version() -> str:
    """The version of this distribution."""
    return VERSION


def facts_of(machine: Machine, info: EngineInfo) -> NodeFacts:
    """What the mesh is told of this node."""
    return NodeFacts(
        hostname=machine.hostname or info.hostname,
        address=machine.address,
        os=info.os,
        architecture=info.architecture,
        cpus=max(0.0, info.cpus),
        memory=max(0, info.memory),
        engine_version=info.version,
        agent_version=agent_version(),
        kernel=info.kernel,
        storage_driver=info.storage_driver,
        cgroup=info.cgroup,
        security=info.security,
        sysctls=dict(info.sysctls),
        engine_labels=dict(info.labels),
        controller=machine.controller_here,
    )


class Surveyor:
    """Asks the engine now and then, and when told that something has changed."""

    def __init__(self, engine: Engine, machine: Machine, network: network.Machine | None = None) -> None:
        self._network = network
        self.networking = "this agent has no networks"
        """Why this node can't have networks of the mesh; "" if it can."""
        self._engine = engine
        self._machine = machine
        self._asked = asyncio.Event()
        self.info = EngineInfo()
        self.facts = facts_of(machine, EngineInfo())
        self.volumes: tuple[str, ...] = ()
        self.ports_taken: tuple[BoundPort, ...] = ()
        self.listeners: list[Callable[[], None]] = []

    def ask(self) -> None:
        """Something may have changed."""
        self._asked.set()

    async def look_once(self) -> None:
        """Facts only: wanted before joining. Raises EngineUnavailable."""
        self.info = await self._engine.info()
        facts, routes = facts_of(self._machine, self.info), tuple[str, ...]()
        if self._network is not None and not self.networking:
            routes = await self._network.routes()
            facts = msgspec.structs.replace(facts, address=facts.address or await self._network.address())
        self.facts = msgspec.structs.replace(facts, routes=routes, networking=self.networking)

    async def run(self, owner: Owner) -> None:
        """Survey for ever."""
        while True:
            self._asked.clear()
            pause = SURVEY_EVERY
            try:
                await self._survey(owner)
            except MeshError as error:
                log.debug("survey.failed", error=str(error))
                pause = RETRY
            if await sleep_unless(self._asked, pause):
                await asyncio.sleep(SETTLE)

    async def _survey(self, owner: Owner) -> None:
        before = (self.facts, self.volumes, self.ports_taken)
        await self.look_once()
        names = (volume.name for volume in await self._engine.volumes())
        self.volumes = tuple(sorted(name for name in names if not _ANONYMOUS.fullmatch(name)))
        ports = set(await self._engine.other_ports(owner))
        self.ports_taken = tuple(sorted(ports, key=lambda port: (port.published, port.protocol, port.host_ip)))
        if before != (self.facts, self.volumes, self.ports_taken):
            for listener in self.listeners:
                listener()
