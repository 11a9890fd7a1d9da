"""What tests of networks share: an allotment of three nodes, and who answers there."""

from __future__ import annotations

from agent.network.model import View
from schemas.network import AllocationRecord, Backend, EndpointsRecord, NodeRange, Publication, PublishRecord

NODES = ("n1", "n2", "n3")


def allotment(
    network: str = "front", vni: int = 1000, second: int = 192, *, internal: bool = False
) -> AllocationRecord:
    """One of three nodes, with services web and db."""
    base = f"10.{second}"
    nodes = {
        name: NodeRange(range=f"{base}.{n}.0/24", gateway=f"{base}.{n}.1", tunnel=f"192.168.0.{n}")
        for n, name in enumerate(NODES, 1)
    }
    return AllocationRecord(
        network=network,
        vni=vni,
        subnet=f"{base}.0.0/16",
        vips=f"{base}.224.0/19",
        nodes=nodes,
        services={"web": f"{base}.224.1", "db": f"{base}.224.2"},
        internal=internal,
    )


def answering(
    service: str, *nodes: int, network: str = "front", second: int = 192, mode: str = "vip"
) -> EndpointsRecord:
    """A service with a task on each of these nodes (by number)."""
    base = f"10.{second}"
    backends = tuple(Backend(task=f"t{n}", node=f"n{n}", address=f"{base}.{n}.2") for n in nodes)
    vip = {"web": f"{base}.224.1", "db": f"{base}.224.2"}[service] if mode == "vip" else ""
    return EndpointsRecord(network=network, service=service, vip=vip, names=(service,), backends=backends)


def view(*records: EndpointsRecord, ports: tuple[Publication, ...] = ()) -> View:
    """A view with network front, and back where a record is on it."""
    allocations = {"front": allotment()}
    if any(record.network == "back" for record in records):
        allocations["back"] = allotment("back", 1001, 193, internal=True)
    return View(
        allocations=allocations,
        endpoints={f"{record.network}.{record.service}": record for record in records},
        publish=PublishRecord(ports=ports),
    )
