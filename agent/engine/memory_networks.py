"""The networks of the engine in memory: they are made, hold addresses and go; no packet ever flows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network

from agent.engine.labels import Owner, owner_of
from agent.engine.model import EngineNetwork
from agent.engine.plans import NetworkPlan
from schemas.errors import Conflict, EngineError


@dataclass
class NetworkShelf:
    """All of them, by name."""

    held: dict[str, EngineNetwork] = field(default_factory=dict)
    _next: dict[str, int] = field(default_factory=dict)

    def of(self, owner: Owner) -> tuple[EngineNetwork, ...]:
        """That owner's, by name."""
        return tuple(self.held[name] for name in sorted(self.held) if owner.owns(self.held[name].labels))

    def create(self, plan: NetworkPlan) -> None:
        """Make it. Raises Conflict when somebody else's has the name; EngineError: another has its addresses."""
        there = self.held.get(plan.name)
        if there is not None and owner_of(there.labels) != owner_of(plan.labels):
            raise Conflict(f"network {plan.name} is not of this mesh and node: left alone")
        subnet = IPv4Network(plan.subnet)
        for other in self.held.values():
            if other.name != plan.name and subnet.overlaps(IPv4Network(other.subnet)):
                raise EngineError(f"make {plan.name}: {plan.subnet} overlaps with that of {other.name}")
        self.held.setdefault(
            plan.name,
            EngineNetwork(plan.name, plan.device, plan.range, plan.mtu, plan.subnet, plan.internal, plan.labels),
        )

    def remove(self, name: str, owner: Owner, used: Iterable[Mapping[str, str]]) -> None:
        """Remove it. `used`: addresses of the containers that run. Raises Conflict while one is on it."""
        if name in self.held and owner.owns(self.held[name].labels):
            if any(name in addresses for addresses in used):
                raise Conflict(f"network {name} has running containers")
            del self.held[name]

    def address(self, name: str) -> str:
        """One that it has not given out yet."""
        number = self._next[name] = self._next.get(name, 1) + 1
        return str(IPv4Network(self.held[name].range)[number])
