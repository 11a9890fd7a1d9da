"""A lab that exists: hurt it, look at it, take it down. Calls block (use a thread from async code).

`lab.bringup.bring_up` makes one.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from bus.accounts import OPERATOR
from bus.credentials import read_credentials
from bus.users import Credentials
from lab import folders
from lab.engine_api import EngineApi
from lab.paths import LabPaths, Tools, labs_root
from lab.plan import LabPlan, Machine
from lab.rack import Part, Rack, in_parallel
from schemas.errors import Refused, UsageError

if TYPE_CHECKING:
    from lab.eye import Eye

State: TypeAlias = Literal["running", "degraded", "off"]

GRACE = 20.0
"""Seconds that a service gets to end by itself."""


@dataclass(frozen=True)
class MachineStatus:
    """How a machine is."""

    name: str
    kind: str
    address: str
    state: State
    cut: bool
    services: dict[str, bool]
    """Which services it should run, and whether each does."""


class Lab:
    """A lab. Raises (all methods): NotFound for a machine it has not, Internal when the host refuses."""

    def __init__(self, plan: LabPlan, tools: Tools | None = None) -> None:
        self.plan = plan
        self.paths = LabPaths(labs_root() / plan.name)
        self.rack = Rack(plan, self.paths, tools or Tools.find())

    @classmethod
    def open(cls, name: str) -> Lab:
        """The lab of that name. Raises NotFound."""
        return cls(folders.read_plan(name))

    @property
    def name(self) -> str:
        """Its name."""
        return self.plan.name

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names of its nodes."""
        return tuple(machine.name for machine in self.plan.of("node"))

    @property
    def controllers(self) -> tuple[str, ...]:
        """The names of its controllers."""
        return tuple(machine.name for machine in self.plan.of("controller"))

    def credentials_file(self) -> Path:
        """What the operator connects with, from this host."""
        return self.paths.credentials(OPERATOR)

    def credentials(self) -> Credentials:
        """The operator's."""
        return read_credentials(self.credentials_file(), name="lab")

    def engine(self, node: str) -> EngineApi:
        """A node's Docker engine."""
        return EngineApi(self.paths.docker_socket(self._node(node).name))

    def engine_url(self, node: str) -> str:
        """Where a node's engine listens."""
        return f"unix://{self.paths.docker_socket(self._node(node).name)}"

    # --- faults -------------------------------------------------------------------------------------------------------

    def kill(self, target: str, only: Part | None = None) -> str:
        """End it at once. A node loses its power; of a controller or nats-server only the process dies.

        `target` may be "leader". `only`: of a node just the agent, or just the engine's daemons (containers run on).
        Returns the name of the machine.
        """
        machine = self._target(target)
        host = self.rack.host(machine.name)
        if machine.kind == "node" and only is None:
            self.rack.unplug(machine)
            host.power_off()
            return machine.name
        services = self.rack.services(machine, only)
        for service in services:
            host.signal(service.name, signal.SIGKILL)
        for service in services:
            host.wait_ended(service.name, 10.0)
        return machine.name

    def stop(self, target: str, only: Part | None = None) -> str:
        """End it in good order: services by SIGTERM; a whole node then loses its power. Returns the name."""
        machine = self._target(target)
        host = self.rack.host(machine.name)
        if host.pid() is not None:
            for service in reversed(self.rack.services(machine, only)):
                host.stop(service.name, patience=GRACE)
        if machine.kind == "node" and only is None:
            host.power_off()
        return machine.name

    def start(self, target: str, only: Part | None = None) -> str:
        """Start what does not run; a node that is off boots and finds its disk as it was. Returns the name."""
        machine = self._target(target)
        self.rack.boot(machine)
        services = self.rack.services(machine, only)
        for service in services:
            self.rack.host(machine.name).start(service)
        if any(service.name == "dockerd" for service in services):
            self.engine(machine.name).wait(30.0)
        return machine.name

    def cut(self, target: str) -> str:
        """Unplug it from the switch: it runs on, and nobody hears it. Returns the name."""
        machine = self._target(target)
        self.rack.unplug(machine)
        return machine.name

    def heal(self, target: str) -> str:
        """Plug it in again. Returns the name."""
        machine = self._target(target)
        self.rack.plug(machine)
        return machine.name

    def mend(self) -> None:
        """Start all that does not run and plug in all that is cut."""
        for machine in self.status():
            if machine.cut:
                self.heal(machine.name)
            if machine.state != "running":
                self.start(machine.name)

    def down(self) -> None:
        """Remove all of it."""
        with folders.changing(self.name):
            folders.remove(self.name)

    # --- looking ------------------------------------------------------------------------------------------------------

    def status(self) -> tuple[MachineStatus, ...]:
        """Every machine that can be hurt."""
        plugged = self.rack.plugged()
        machines = [machine for machine in self.plan.machines if machine.kind not in ("switch", "outlet")]
        return tuple(self._status(machine, plugged) for machine in machines)

    def leader(self) -> str:
        """The name of the controller that leads. Raises Unreachable."""
        with self.eye() as eye:
            return eye.leader().holder

    def eye(self) -> Eye:
        """A look at the mesh: `with lab.eye() as eye: eye.tasks()`."""
        from lab.eye import Eye

        return Eye(self.credentials())

    def exec(self, machine: str, argv: Sequence[str], *, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command inside a machine and take what it says. Raises Unreachable when it is off."""
        host = self.rack.host(machine)
        command, environment = host.command(argv), host.environment()
        return subprocess.run(command, env=environment, input=text, capture_output=True, text=True, check=False)

    def log(self, machine: str, service: str) -> Path:
        """The file with what a service has written."""
        return self.paths.log(self.plan.machine(machine).name, service)

    def load_images(self, archives: Iterable[Path], nodes: Sequence[str] = ()) -> None:
        """Bring images to nodes (default: to all) straight through their engines."""
        pairs = [(node, archive) for archive in archives for node in nodes or self.nodes]
        in_parallel(lambda pair: self.engine(pair[0]).load(pair[1]), pairs)

    def _status(self, machine: Machine, plugged: frozenset[str]) -> MachineStatus:
        host = self.rack.host(machine.name)
        running = host.running()
        services = {each.name: each.name in running for each in self.rack.services(machine)}
        state: State = "off" if not any(services.values()) else "running" if all(services.values()) else "degraded"
        cut = host.pid() is not None and machine.name not in plugged
        return MachineStatus(machine.name, machine.kind, machine.address, state, cut, services)

    def _target(self, target: str) -> Machine:
        machine = self.plan.machine(self.leader() if target == "leader" else target)
        if machine.kind in ("switch", "outlet"):
            raise Refused(f"the {machine.name} holds the lab together", hint="meshctl lab down takes all of it down")
        return machine

    def _node(self, name: str) -> Machine:
        machine = self.plan.machine(name)
        if machine.kind != "node":
            raise UsageError(f"{name} is no node", hint=f"nodes: {', '.join(self.nodes)}")
        return machine
