"""Faults that the lab has no word for."""

from __future__ import annotations

from bus.nats import NatsBus
from lab.lab import Lab
from lab.rack import Part
from meshctl.client import Mesh
from schemas.subjects import STATE_STREAM
from tests.e2e.site import Site


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


def delete_state_stream(site: Site) -> None:
    """What nobody should do."""

    async def delete(mesh: Mesh) -> None:
        assert isinstance(mesh.bus, NatsBus)
        await mesh.bus.line.ask(f"$JS.API.STREAM.DELETE.{STATE_STREAM}", b"", timeout=10)

    site.ask(delete)
