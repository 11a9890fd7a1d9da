"""Answers `mesh.node.<node>.doctor`: tries what this node's networks rely on, and says what is wrong and what helps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from agent.network import findings
from agent.network.findings import Peer, Tried
from agent.network.model import Bridge, View, Wanted
from agent.network.port import Machine
from schemas.nodeapi import Diagnose, Diagnosis, Finding

UNUSED = 9
"""Tried where nobody listens (RFC 863): a refusal shows that packets go both ways."""
PORTS = 8
"""Published ports that are tried on each node, at most."""
AT_ONCE = 16


@dataclass(frozen=True)
class State:
    """What the node's networks are like just now."""

    view: View = field(default_factory=View)
    wanted: Wanted = field(default_factory=Wanted)
    troubles: Mapping[str, str] = field(default_factory=dict)


class Doctor:
    """See the module."""

    def __init__(self, node: str, machine: Machine | None, why: str, state: Callable[[], State]) -> None:
        """`why`: why this node can't have networks; "": it can."""
        self._node = node
        self._machine = machine
        self._why = why
        self._state = state
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def examine(self, request: Diagnose) -> Diagnosis:
        """Try everything. Raises EngineError."""
        if self._machine is None or self._why:
            finding = Finding(check="machine", ok=False, why=self._why or "this agent has no networks")
            return Diagnosis(node=self._node, findings=(finding,))
        state = self._state()
        found = [*findings.of_troubles(state.troubles)]
        if state.wanted.bridges:
            found += findings.of_machine(await self._machine.examine())
            for bridge in state.wanted.bridges:
                found += await self._own(self._machine, bridge)
            async with asyncio.TaskGroup() as group:
                peers = peers_of(state, self._node, request.peers)
                tries = [(peer, group.create_task(self._try(self._machine, peer, state))) for peer in peers]
            bridges = {bridge.network: bridge for bridge in state.wanted.bridges}
            for peer, tried in tries:
                bridge = bridges[peer.network]
                found += findings.of_peer(bridge.tunnel, bridge.mtu, peer, tried.result())
        return Diagnosis(node=self._node, findings=tuple(found))

    async def _own(self, machine: Machine, bridge: Bridge) -> Iterable[Finding]:
        return (
            findings.of_mtu(bridge, await machine.mtu(bridge.tunnel)),
            findings.of_routes(bridge, await machine.routes()),
            findings.of_own_names(bridge, await machine.ask(bridge.gateway, 0)),
        )

    async def _try(self, machine: Machine, peer: Peer, state: State) -> Tried:
        async with self._slots:
            ports = {port: await machine.reach(peer.tunnel, port) for port in published(state.view, peer.node)}
            path = await machine.reach(peer.gateway, UNUSED)
            if path not in findings.THERE:
                neighbour, underlay = await machine.neighbour(peer.gateway), await machine.reach(peer.tunnel, UNUSED)
                return Tried(path, neighbour, underlay, ports=ports)
            mtu = next(bridge.mtu for bridge in state.wanted.bridges if bridge.network == peer.network)
            names = await machine.ask(peer.gateway, 0)
            return Tried(path, names=names, full=await machine.ask(peer.gateway, mtu), ports=ports)


def peers_of(state: State, node: str, wanted: Iterable[str]) -> tuple[Peer, ...]:
    """The nodes `wanted` that share a network with this one, over the first that they share."""
    found: dict[str, Peer] = {}
    for bridge in state.wanted.bridges:
        allocation = state.view.allocations[bridge.network]
        for name in sorted({*wanted} & allocation.nodes.keys() - found.keys() - {node}):
            held = allocation.nodes[name]
            found[name] = Peer(name, bridge.network, held.gateway, held.tunnel)
    return tuple(found[name] for name in sorted(found))


def published(view: View, node: str) -> tuple[int, ...]:
    """TCP ports on which `node` should answer."""
    ports: list[int] = []
    for port in view.publish.ports:
        record = view.endpoints.get(f"{port.network}.{port.service}")
        backends = record.backends if record is not None else ()
        if port.protocol == "tcp" and any(each.node == node or not port.local for each in backends):
            ports.append(port.published)
    return tuple(ports[:PORTS])
