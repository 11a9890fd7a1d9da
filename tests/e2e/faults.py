"""Faults that the lab has no word for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address

from bus.nats import NatsBus
from lab.lab import Lab
from lab.plan import NATS_PORT
from lab.rack import Part
from meshctl.client import Mesh
from schemas.liveness import LeaderBeat
from schemas.subjects import STATE_STREAM
from tests.e2e.site import Site

ESTABLISHED = "01"
"""As /proc/net/tcp has it."""


def signal_all(lab: Lab, machine: str, number: int, only: Part | None = None) -> None:
    """Send a signal to what runs on a machine (SIGSTOP: it stalls; SIGCONT: it goes on)."""
    host = lab.rack.host(machine)
    for service in lab.rack.services(lab.plan.machine(machine), only):
        host.signal(service.name, number)


def stream_leader(site: Site) -> str:
    """The nats-server that leads the state stream."""

    async def ask(mesh: Mesh) -> str:
        return (await mesh.bus.state.info()).leader

    return site.ask(ask)


def server_of_leader(site: Site) -> str:
    """The nats-server that the leading controller is connected to; another one is made to lead the store.

    Where that one dies nobody can take over for some seconds, however long the leader is silent.
    """
    line = line_of(site.lab, site.eye.leader().holder)
    assert line is not None, "who leads has no connection"
    site.wait("another server leads the store", lambda: _leads_elsewhere(site, line.server))
    return line.server


def _leads_elsewhere(site: Site, server: str) -> bool:
    if stream_leader(site) not in (server, ""):
        return True

    async def step_down(mesh: Mesh) -> None:
        assert isinstance(mesh.bus, NatsBus)
        await mesh.bus.line.ask(f"$JS.API.STREAM.LEADER.STEPDOWN.{STATE_STREAM}", b"", timeout=10)

    site.ask(step_down)
    return False


def leads_still(site: Site, before: LeaderBeat) -> None:
    """Nobody has taken over since."""
    now = site.eye.leader()
    assert (now.holder, now.epoch) == (before.holder, before.epoch), "somebody else leads"


def delete_state_stream(site: Site) -> None:
    """What nobody should do."""

    async def delete(mesh: Mesh) -> None:
        assert isinstance(mesh.bus, NatsBus)
        await mesh.bus.line.ask(f"$JS.API.STREAM.DELETE.{STATE_STREAM}", b"", timeout=10)

    site.ask(delete)


@dataclass(frozen=True)
class Line:
    """A machine's connection to a nats-server."""

    server: str
    unsent: int
    """Bytes that the server has not confirmed yet."""


def line_of(lab: Lab, machine: str) -> Line | None:
    """A machine's connection now (of several the one with most on its way); None: it has none."""
    names = {server.address: server.name for server in lab.plan.of("nats")}
    table = lab.exec(machine, ["cat", "/proc/net/tcp"]).stdout.splitlines()[1:]
    lines = []
    for _, _, remote, state, queues, *_ in (row.split() for row in table):
        address, port = remote.split(":")
        server = names.get(str(IPv4Address(int.from_bytes(bytes.fromhex(address), "little"))))
        if state == ESTABLISHED and int(port, 16) == NATS_PORT and server:
            lines.append(Line(server, int(queues.split(":")[0], 16)))
    return max(lines, key=lambda line: line.unsent, default=None)


@contextlib.contextmanager
def muted(lab: Lab, machine: str) -> Iterator[None]:
    """It hears everybody, and nobody hears it; what it says waits, and is sent again, as TCP does it."""
    rule = ["OUTPUT", "-p", "tcp", "--dport", str(NATS_PORT), "-j", "DROP"]
    done = lab.exec(machine, ["iptables", "-w", "-I", *rule])
    assert done.returncode == 0, done.stderr
    try:
        yield
    finally:
        lab.exec(machine, ["iptables", "-w", "-D", *rule])
