"""What controllers are asked about nodes, and about what lies on several: volumes, networks, the spread."""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

from meshctl.asking import WRITE_TIMEOUT
from meshctl.calls.asker import Asker
from schemas.memberapi import InspectNode, ListNodes, NodeList, NodeView, RemoveNode, UpdateNode
from schemas.netapi import CreateNetwork, InspectNetwork, ListNetworks, NetworkList, NetworkView, RemoveNetworks
from schemas.network import NetworkRecord
from schemas.rebalanceapi import (
    ApplyRebalance,
    GetRebalance,
    PlanRebalance,
    RebalanceOrdered,
    RebalancePlan,
    RebalanceView,
    StopRebalance,
)
from schemas.records import Availability
from schemas.requests import Written
from schemas.statusapi import GetStatus, GiveOrder, Status
from schemas.volumeapi import ListVolumes, VolumeList


class NodeCalls(Asker):
    """Nodes, volumes, networks, and the mesh as a whole."""

    async def nodes(self) -> NodeList:
        """All nodes."""
        return cast("NodeList", await self.ask("node.list", ListNodes()))

    async def node(self, name: str) -> NodeView:
        """One node. Raises NotFound."""
        return cast("NodeView", await self.ask("node.inspect", InspectNode(node=name)))

    async def update_node(
        self,
        node: str,
        *,
        availability: Availability | None = None,
        force: bool = False,
        labels_add: dict[str, str] | None = None,
        labels_remove: Collection[str] = (),
    ) -> Written:
        """Change a node's availability or labels. `force`: of a drain, end what can't run elsewhere, too."""
        request = UpdateNode(
            node=node,
            availability=availability,
            force=force,
            labels_add=labels_add or {},
            labels_remove=tuple(labels_remove),
        )
        return cast("Written", await self.ask("node.update", request))

    async def remove_node(self, node: str, *, force: bool = False) -> Written:
        """Forget a node. Raises Refused while it is not down, unless `force`."""
        return cast("Written", await self.ask("node.remove", RemoveNode(node=node, force=force)))

    async def plan_rebalance(self, max_moves: int = 0) -> RebalancePlan:
        """The fewest moves that even out where tasks run; 0: all of them."""
        request = PlanRebalance(max_moves=max_moves)
        return cast("RebalancePlan", await self.ask("rebalance.plan", request, timeout=WRITE_TIMEOUT))

    async def apply_rebalance(self, max_moves: int = 0) -> RebalanceOrdered:
        """Order them. Raises Conflict while another rebalance is under way."""
        request = ApplyRebalance(max_moves=max_moves)
        return cast("RebalanceOrdered", await self.ask("rebalance.apply", request))

    async def stop_rebalance(self) -> RebalanceOrdered:
        """Begin no further move. Raises NotFound."""
        return cast("RebalanceOrdered", await self.ask("rebalance.stop", StopRebalance()))

    async def rebalance(self) -> RebalanceView:
        """How far the last rebalance is."""
        return cast("RebalanceView", await self.ask("rebalance.get", GetRebalance()))

    async def volumes(self) -> VolumeList:
        """Named volumes on all nodes."""
        return cast("VolumeList", await self.ask("volume.list", ListVolumes()))

    async def networks(self) -> NetworkList:
        """All networks."""
        return cast("NetworkList", await self.ask("network.list", ListNetworks()))

    async def network(self, name: str) -> NetworkView:
        """One network, with who answers on it. Raises NotFound."""
        return cast("NetworkView", await self.ask("network.inspect", InspectNetwork(network=name)))

    async def create_network(self, record: NetworkRecord) -> NetworkView:
        """Make a network. Raises Conflict, Refused."""
        return cast("NetworkView", await self.ask("network.create", CreateNetwork(network=record)))

    async def remove_networks(self, names: Collection[str]) -> Written:
        """Remove networks. Raises NotFound, Refused while one is used."""
        request = RemoveNetworks(networks=tuple(names))
        return cast("Written", await self.ask("network.remove", request))

    async def status(self) -> Status:
        """How the mesh is."""
        return cast("Status", await self.ask("status.get", GetStatus()))

    async def order(self, kind: str, *, node: str = "") -> Written:
        """Tell the leader: "brake.release", or "node.confirm-dead" with a node."""
        return cast("Written", await self.ask("order.give", GiveOrder(kind=kind, node=node)))
