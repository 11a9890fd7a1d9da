"""How the mesh is, and what its leader is ordered."""

from __future__ import annotations

from schemas.records import BrakeRecord, Reason
from schemas.requests import Ask, Command, Written
from schemas.wire import Count, Wire


class GetStatus(Ask, frozen=True, kw_only=True):
    """status.get."""


class ControllerView(Wire, frozen=True, kw_only=True):
    """A controller that was heard."""

    name: str
    leads: bool = False
    hostname: str = ""
    version: str = ""
    trouble: str = ""


class Status(Wire, frozen=True, kw_only=True):
    """How the mesh is."""

    mesh_id: str
    generation: Count
    epoch: Count
    leader: str
    controllers: tuple[ControllerView, ...] = ()
    nodes_ready: Count = 0
    nodes: Count = 0
    services: Count = 0
    services_converged: Count = 0
    tasks_running: Count = 0
    tasks_wanted: Count = 0
    brake: BrakeRecord = BrakeRecord()
    reasons: tuple[Reason, ...] = ()
    sequence: Count = 0
    rounds: Count = 0
    version: str = ""


class GiveOrder(Command, frozen=True, kw_only=True):
    """order.give: brake.release, or node.confirm-dead with a node."""

    kind: str
    node: str = ""


STATUS_REQUESTS: dict[str, tuple[type[Wire], type[Wire]]] = {
    "status.get": (GetStatus, Status),
    "order.give": (GiveOrder, Written),
}
