"""What a lab consists of: machines, addresses, services. Pure: names and counts in, a plan out.

All machines of a lab sit on one switch, 10.77.0.0/16; labs have namespaces of their own and so may all use the same
addresses. A machine runs services in the given order; its `init` keeps them apart from the host (see `lab.init`).
"""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

import msgspec

from lab.paths import LabPaths, Tools
from schemas.errors import NotFound, UsageError

Kind: TypeAlias = Literal["switch", "outlet", "node", "controller", "nats"]

NETWORK = "10.77.0.0/16"
PREFIX_LENGTH = 16
SWITCH_ADDRESS = "10.77.0.1"
NATS_PORT = 4222
LAB_GROUP = "dockmesh-lab"
"""The control group of all labs."""
_THIRD_BYTE: dict[Kind, int] = {"switch": 0, "outlet": 0, "node": 1, "controller": 2, "nats": 3}
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?")
MOST: dict[Kind, int] = {"node": 200, "controller": 9, "nats": 9}


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """One machine: a set of namespaces with an address on the switch."""

    name: str
    kind: Kind
    address: str
    mac: str
    disk_mib: int = 0
    """Nodes: the size of the engine's disk in memory; 0: the host's disk, without a limit."""
    controller_here: bool = False
    """Nodes: whether the node counts as one where a controller runs (`node.role==manager`)."""


class LabPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A lab as planned; kept in its folder before anything else is made."""

    name: str
    mesh_id: str
    machines: tuple[Machine, ...]
    outlet: bool = False
    """Whether nodes reach out through the host."""

    def of(self, kind: Kind) -> tuple[Machine, ...]:
        """The machines of a kind."""
        return tuple(machine for machine in self.machines if machine.kind == kind)

    def machine(self, name: str) -> Machine:
        """The machine with that name. Raises NotFound."""
        for machine in self.machines:
            if machine.name == name:
                return machine
        known = ", ".join(machine.name for machine in self.machines if machine.kind != "switch")
        raise NotFound(f"lab {self.name} has no machine {name!r}", hint=f"it has {known}")


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """A process that a machine runs."""

    name: str
    argv: tuple[str, ...]
    environment: dict[str, str] = {}
    """Beside what all on the machine find."""


def make_plan(
    name: str,
    *,
    mesh_id: str,
    nodes: int = 3,
    controllers: int = 3,
    nats: int = 3,
    outlet: bool = False,
    disk_mib: int = 0,
) -> LabPlan:
    """Plan a lab. Raises UsageError for a name or count that can't be."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"a lab can't be named {name!r}", hint="at most 20 of a-z, 0-9 and -, no - at either end")
    counts: dict[Kind, int] = {"node": nodes, "controller": controllers, "nats": nats}
    for kind, count in counts.items():
        if not 0 <= count <= MOST[kind]:
            raise UsageError(f"a lab can't have {count} machines of kind {kind}", hint=f"0 to {MOST[kind]}")
    machines = [_machine("switch", "switch", 1), *([_machine("outlet", "outlet", 2)] if outlet else [])]
    for kind in ("nats", "controller", "node"):
        for number in range(1, counts[kind] + 1):
            machine = _machine(f"{kind}-{number}", kind, number)
            if kind == "node":
                machine = msgspec.structs.replace(machine, disk_mib=disk_mib, controller_here=number <= controllers)
            machines.append(machine)
    return LabPlan(name=name, mesh_id=mesh_id, machines=tuple(machines), outlet=outlet)


def _machine(name: str, kind: Kind, number: int) -> Machine:
    third = _THIRD_BYTE[kind]
    return Machine(name=name, kind=kind, address=f"10.77.{third}.{number}", mac=f"02:4d:00:00:{third:02x}:{number:02x}")


def services_of(machine: Machine, plan: LabPlan, paths: LabPaths, tools: Tools) -> tuple[Service, ...]:
    """What the machine runs, in the order of starting."""
    if machine.kind == "node":
        services = (*engine_services(machine, plan, paths, tools), agent_service(machine, plan, paths, tools))
        return services if plan.of("nats") else services[:-1]
    if machine.kind == "controller":
        return (controller_service(machine, paths, tools),)
    if machine.kind == "nats":
        config = str(paths.etc(machine.name) / "nats.conf")
        return (Service(name="nats", argv=(tools.nats_server, "-c", config)),)
    return ()


def engine_services(machine: Machine, plan: LabPlan, paths: LabPaths, tools: Tools) -> tuple[Service, Service]:
    """A containerd and a dockerd that share nothing with the host's."""
    folder, etc = paths.machine(machine.name), paths.etc(machine.name)
    socket = "/run/containerd/containerd.sock"  # in the machine's own /run, never the host's
    containerd = [tools.containerd, "--config", str(etc / "containerd.toml")]
    containerd += ["--root", str(folder / "engine/containerd"), "--state", "/run/containerd", "--address", socket]
    dockerd = [tools.dockerd, "--config-file", str(etc / "daemon.json"), "--containerd", socket]
    dockerd += ["--data-root", str(folder / "engine/docker"), "--exec-root", "/run/docker"]
    dockerd += ["--pidfile", "/run/docker.pid", "--exec-opt", "native.cgroupdriver=cgroupfs"]
    dockerd += ["--cgroup-parent", f"/{cgroup_of(plan.name, machine.name)}/containers"]
    dockerd += ["-H", f"unix://{paths.docker_socket(machine.name)}", "-H", "unix:///run/docker.sock"]
    return Service(name="containerd", argv=tuple(containerd)), Service(name="dockerd", argv=tuple(dockerd))


def agent_service(machine: Machine, plan: LabPlan, paths: LabPaths, tools: Tools) -> Service:
    """The node's agent."""
    argv = [tools.python, "-m", "agent.main", "--node", machine.name, "--hostname", machine.name]
    argv += ["--credentials", str(paths.credentials(machine.name)), "--data", str(paths.data(machine.name))]
    argv += ["--engine", f"unix://{paths.docker_socket(machine.name)}", "--address", machine.address]
    argv += ["--label", f"lab={plan.name}", *(["--controller-here"] if machine.controller_here else [])]
    return Service(name="agent", argv=tuple(argv), environment={"PYTHONMALLOC": "malloc"})


def controller_service(machine: Machine, paths: LabPaths, tools: Tools) -> Service:
    """A controller."""
    argv = [tools.python, "-m", "controller.main", "--name", machine.name, "--hostname", machine.name]
    argv += ["--credentials", str(paths.credentials(machine.name)), "--data", str(paths.data(machine.name))]
    return Service(name="controller", argv=tuple(argv))


def cgroup_of(lab: str, machine: str = "") -> str:
    """The control group of a lab or of one of its machines, below the root of each hierarchy."""
    return f"{LAB_GROUP}/{lab}/{machine}".rstrip("/")


def server_urls(plan: LabPlan) -> tuple[str, ...]:
    """Where the nats-servers listen, as seen inside the lab."""
    return tuple(f"nats://{machine.address}:{NATS_PORT}" for machine in plan.of("nats"))
