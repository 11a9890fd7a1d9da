"""The machines of one lab with their cables: booting, plugging, and which services belong where. Blocking calls."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

import lab.relay
from lab import network, outlet
from lab.machine import Host
from lab.paths import LabPaths, Tools
from lab.plan import NATS_PORT, LabPlan, Machine, Service, services_of
from schemas.errors import Refused, UsageError

Part: TypeAlias = Literal["agent", "engine"]
T = TypeVar("T")


class Rack:
    """The machines as they stand. Raises (all methods): Internal when the host refuses."""

    def __init__(self, plan: LabPlan, paths: LabPaths, tools: Tools) -> None:
        self.plan = plan
        self.paths = paths
        self.tools = tools

    def host(self, name: str) -> Host:
        """The processes of a machine. Raises NotFound."""
        return Host(self.plan.name, self.plan.machine(name), self.paths, self.tools)

    def services(self, machine: Machine, only: Part | None = None) -> tuple[Service, ...]:
        """What a machine runs, or one part of it. Raises UsageError."""
        services = services_of(machine, self.plan, self.paths, self.tools)
        if only is None:
            return services
        if machine.kind != "node":
            raise UsageError(f"--only is for nodes; {machine.name} is a {machine.kind}")
        wanted = ("agent",) if only == "agent" else ("containerd", "dockerd")
        return tuple(service for service in services if service.name in wanted)

    def boot(self, machine: Machine) -> None:
        """Make a machine's namespaces and put its cable in, if it is off; nothing runs in it yet."""
        host = self.host(machine.name)
        if host.pid() is not None:
            return
        pid = host.boot(resolver=outlet.RESOLVER if self.plan.outlet else NO_RESOLVER)
        switch = self.switch_pid()
        network.drop_cable(switch, machine)
        network.run_ip(switch, network.cable_in_switch(machine, pid))
        network.run_ip(pid, network.cable_in_machine(machine, outlet=self.plan.outlet))

    def boot_switch(self) -> tuple[int, ...]:
        """Make the switch and the operator's way in; returns the loopback ports, one for each nats-server."""
        listeners = [_loopback_listener() for _ in self.plan.of("nats")]
        try:
            host = self.host("switch")
            descriptors = [listener.fileno() for listener in listeners]
            network.run_ip(host.boot(keep=descriptors), network.switch_setup())
            if listeners:
                host.start(self._relay(descriptors))
            return tuple(listener.getsockname()[1] for listener in listeners)
        finally:
            for listener in listeners:
                listener.close()

    def boot_outlet(self) -> None:
        """Make the way out: a process of the host's network that holds the switch's namespace by a descriptor."""
        switch = self.switch_pid()
        namespace = os.open(f"/proc/{switch}/ns/net", os.O_RDONLY)
        try:
            host = self.host("outlet")
            host.boot(resolver=Path("/etc/resolv.conf").read_text(), keep=(namespace,))
            host.start(outlet.service(namespace))
        finally:
            os.close(namespace)
        outlet.route(switch, network.BRIDGE)

    def unplug(self, machine: Machine) -> None:
        """Pull the cable at the switch."""
        if self.host(machine.name).pid() is not None:
            network.run_ip(self.switch_pid(), network.cable_state(machine, up=False))

    def plug(self, machine: Machine) -> None:
        """Put the cable in again. Raises Refused when the machine is off."""
        if self.host(machine.name).pid() is None:
            raise Refused(f"{machine.name} is off", hint=f"meshctl lab start {machine.name}")
        network.run_ip(self.switch_pid(), network.cable_state(machine, up=True))

    def plugged(self) -> frozenset[str]:
        """The machines whose cables are in."""
        pid = self.host("switch").pid()
        return network.links_up(pid) if pid is not None else frozenset()

    def switch_pid(self) -> int:
        """The switch's first process. Raises Refused: the lab is not running."""
        pid = self.host("switch").pid()
        if pid is None:
            name = self.plan.name
            raise Refused(f"lab {name} is not running", hint=f"meshctl lab down --name {name}, then up again")
        return pid

    def _relay(self, descriptors: Sequence[int]) -> Service:
        pairs = zip(descriptors, self.plan.of("nats"), strict=True)
        targets = tuple(f"{descriptor}={server.address}:{NATS_PORT}" for descriptor, server in pairs)
        return Service(name="relay", argv=(self.tools.python, "-I", "-S", lab.relay.__file__, *targets))


NO_RESOLVER = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"
"""Nobody listens there: a look-up is refused at once."""


def in_parallel(work: Callable[[T], object], items: Iterable[T]) -> None:
    """Do it for all of them, a few at a time; raises the first error."""
    with ThreadPoolExecutor(max_workers=6) as pool:
        list(pool.map(work, items))


def _loopback_listener() -> socket.socket:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    return listener
