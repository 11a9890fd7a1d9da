"""Makes this node's bridges and tunnels, and removes what is wanted no more: looks, takes the steps, looks again."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network

import structlog

from agent.engine.labels import LABEL_NETWORK, Owner
from agent.engine.plans import NetworkPlan
from agent.engine.port import Engine
from agent.network.model import Bridge
from agent.network.port import Machine
from agent.network.steps import DropNetwork, Found, MakeNetwork, SetHairpin, SetPeer, Step, as_they_stand, steps_to
from schemas.errors import Conflict, MeshError

log = structlog.get_logger()


class Linking:
    """The links of one node's networks."""

    def __init__(self, owner: Owner, engine: Engine, machine: Machine) -> None:
        self._owner = owner
        self._engine = engine
        self._machine = machine
        self.made: dict[str, Bridge] = {}
        """Networks that are ready for containers."""
        self.unreached: dict[str, str] = {}
        """Steps about other machines' ends that were refused the last time -> why. All else was done."""
        self.own_peers: dict[str, str] = {}
        """Other nodes' ends that are addresses of this machine -> what of it. They hold up nothing."""
        self.clear = False
        """Whether nothing of ours is on the machine, rules included, as far as this object has seen to it."""
        self._soiled = False
        """Whether this object, or who works with it, has put something there and not cleared it away since."""

    def soil(self) -> None:
        """Something is put on the machine: it is to be cleared once no network is wanted."""
        self.clear, self._soiled = False, True

    async def bring(self, bridges: tuple[Bridge, ...], *, any_allotted: bool) -> None:
        """Make it so. Raises MeshError: something refuses; what was done stays. `any_allotted`: to this node.

        Another machine's end that is refused holds up nothing else: it is one of many, and told by somebody else.
        """
        self.unreached = {}
        if not bridges and not await self._has_any(any_allotted):
            return
        # What goes is not offered to new tasks while it goes.
        staying = {bridge.network for bridge in bridges}
        self.made = {network: bridge for network, bridge in self.made.items() if network in staying}
        for _ in range(2):
            # What a step makes shows only when it is looked for again: the ports of a new bridge.
            found = await self._found()
            bridges = as_they_stand(bridges, found.networks)
            steps, self.unreached = steps_to(bridges, found), {}
            self.own_peers = {
                f"{bridge.vxlan} {peer}": f"a node tells {peer}, an address of this machine: no tunnel leads there"
                for bridge in bridges
                for peer in sorted(bridge.peers & found.own)
            }
            for step in steps:
                log.info("network.step", step=step.describe())
                await self._do(step)
            if not steps:
                break
        if bridges:
            self.soil()
            await self._machine.guard()
        elif not self.clear:
            self._soiled = True  # until all of it is done: what refuses now may not later
            await self._machine.clear()
            self.clear, self._soiled = True, False
        self.made = {bridge.network: bridge for bridge in bridges}

    async def _has_any(self, allotted: bool) -> bool:
        """Whether anything on the machine may be ours: another agent may share it, whose networks are its own."""
        return allotted or self._soiled or bool(self.made) or bool(await self._engine.networks(self._owner))

    async def _found(self) -> Found:
        found = await self._machine.find()
        networks = await self._engine.networks(self._owner)
        return replace(found, networks={each.name: each for each in networks})

    async def _do(self, step: Step) -> None:
        match step:
            case MakeNetwork(bridge):
                await self._engine.create_network(network_plan(bridge, self._owner))
            case DropNetwork(name):
                try:
                    await self._engine.remove_network(name, self._owner)
                except Conflict as error:
                    log.info("network.kept", name=name, why=str(error))
            case SetPeer():
                try:
                    await self._machine.do(step)
                except MeshError as error:
                    self.unreached[step.describe()] = f"a tunnel can't lead to another node: {error}"
            case SetHairpin(device):
                try:
                    await self._machine.do(step)
                except MeshError as error:
                    # Its container has just ended.
                    log.info("network.port_gone", device=device, error=str(error))
            case _:
                await self._machine.do(step)


def network_plan(bridge: Bridge, owner: Owner) -> NetworkPlan:
    """What the engine is asked to make. The ends of the node's range are kept from it: it would give them out."""
    first, last = _ends(bridge.range)
    return NetworkPlan(
        name=bridge.engine_name,
        device=bridge.device,
        subnet=bridge.subnet,
        range=bridge.range,
        gateway=bridge.gateway,
        mtu=bridge.mtu,
        internal=bridge.internal,
        reserved=(("first", first), ("last", last)),
        labels={**owner.labels, LABEL_NETWORK: bridge.network},
    )


def _ends(range_: str) -> tuple[str, str]:
    network = IPv4Network(range_)
    return str(network[0]), str(network[-1])
