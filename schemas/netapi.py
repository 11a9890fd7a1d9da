"""Requests about networks and their answers; `schemas.api.REQUESTS` names them."""

from __future__ import annotations

from schemas.network import AllocationRecord, EndpointsRecord, NetworkRecord
from schemas.requests import Ask, Command, Written
from schemas.wire import Count, Token, Wire


class CreateNetwork(Command, frozen=True, kw_only=True):
    """network.create."""

    network: NetworkRecord


class RemoveNetworks(Command, frozen=True, kw_only=True):
    """network.remove. Refused while a service is on one of them."""

    networks: tuple[Token, ...]


class ListNetworks(Ask, frozen=True, kw_only=True):
    """network.list."""


class InspectNetwork(Ask, frozen=True, kw_only=True):
    """network.inspect."""

    network: str


class NetworkView(Wire, frozen=True, kw_only=True):
    """A network with what it is allotted."""

    record: NetworkRecord
    allocation: AllocationRecord | None = None
    services: tuple[str, ...] = ()
    endpoints: tuple[EndpointsRecord, ...] = ()
    """Only when one network is inspected."""
    ceiling: Count = 0
    """How many nodes fit on it; 0: not known yet."""


class NetworkList(Wire, frozen=True, kw_only=True):
    """All that stand, by name."""

    networks: tuple[NetworkView, ...] = ()


NETWORK_REQUESTS: dict[str, tuple[type[Wire], type[Wire]]] = {
    "network.create": (CreateNetwork, NetworkView),
    "network.remove": (RemoveNetworks, Written),
    "network.list": (ListNetworks, NetworkList),
    "network.inspect": (InspectNetwork, NetworkView),
}
