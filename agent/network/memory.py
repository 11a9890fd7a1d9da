"""A machine in memory: links, rules and sockets are kept, no packet ever flows. For tests and the simulator.

It outlives its agent, as a kernel does; `reboot` empties it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

from agent.network.memory_rules import MemoryTable
from agent.network.port import Asked, Changed, Examination, Reach, Resolve
from agent.network.rules import gone
from agent.network.steps import (
    DropDevice,
    DropNetwork,
    Found,
    MakeNetwork,
    MakeTunnel,
    SetGateway,
    SetHairpin,
    SetPeer,
    SetVirtual,
    Step,
    Tunnel,
)
from schemas.errors import EngineError


@dataclass
class MemoryMachine:
    """See `agent.network.port.Machine`. The upper fields are set by whoever plays the world."""

    why: str = ""
    """Why it can't have networks."""
    interface_mtu: int = 1500
    own: str = ""
    """Its address; "": it can't tell."""
    routed: tuple[str, ...] = ()
    taken: set[tuple[str, int]] = field(default_factory=set)
    """Ports that its own programs have."""
    open: dict[str, int] = field(default_factory=dict)
    """Address -> TCP connections that are open to it."""
    silent: set[str] = field(default_factory=set)
    """Addresses where nothing answers."""
    reached: dict[tuple[str, int], Reach] = field(default_factory=dict)
    asked: dict[tuple[str, bool], Asked] = field(default_factory=dict)
    """(address, whether the packet is a full one) -> what comes of a question."""
    neighbours: set[str] = field(default_factory=set)
    """Silent addresses of which it is known who has them."""
    examination: Examination = field(default_factory=Examination)
    addresses: set[str] = field(default_factory=set)
    """All of this machine's."""
    refuses: str = ""
    """Why every change fails."""
    refuses_peers: set[str] = field(default_factory=set)
    """Addresses that no tunnel can be told to send to."""
    slow: float = 0.0
    """Seconds that a change of its rules takes."""

    table: MemoryTable = field(default_factory=MemoryTable)
    tunnels: dict[str, Tunnel] = field(default_factory=dict)
    virtual: dict[str, str] = field(default_factory=dict)
    held: set[tuple[str, int]] = field(default_factory=set)
    served: dict[str, Resolve] = field(default_factory=dict)
    guarded: bool = False
    forgotten: list[str] = field(default_factory=list)
    """Addresses whose flows were forgotten."""
    watchers: list[Callable[[Changed], None]] = field(default_factory=list)

    def reboot(self) -> None:
        """Its kernel starts anew."""
        self.table, self.guarded = MemoryTable(), False
        for each in (self.tunnels, self.virtual, self.held, self.served):
            each.clear()

    @property
    def clean(self) -> bool:
        """Nothing of the mesh's is left."""
        return not (self.table.there or self.tunnels or self.virtual or self.guarded or self.held or self.served)

    async def trouble(self) -> str:
        return self.why

    async def mtu(self, address: str) -> int:  # noqa: ARG002 (the port's)
        return self.interface_mtu

    async def address(self) -> str:
        return self.own

    async def has_rules(self) -> bool:
        return self.table.there

    def flush(self) -> None:
        """Somebody else removes the rules."""
        self.table = MemoryTable()
        for changed in self.watchers:
            changed("rules")

    async def watch(self, changed: Callable[[Changed], None]) -> None:
        self.watchers.append(changed)
        try:
            await asyncio.Event().wait()
        finally:
            self.watchers.remove(changed)

    async def routes(self) -> tuple[str, ...]:
        return self.routed

    async def find(self) -> Found:
        return Found(tunnels=dict(self.tunnels), virtual=dict(self.virtual), own=frozenset(self.addresses))

    async def do(self, step: Step) -> None:
        self._check()
        match step:
            case MakeTunnel(bridge):
                if not bridge.tunnel:
                    raise EngineError(f"make {bridge.vxlan}: illegal IP address string")
                self.tunnels[bridge.vxlan] = Tunnel(bridge.vxlan, bridge.vni, bridge.tunnel, bridge.device, bridge.mtu)
            case DropDevice(device):
                self.tunnels.pop(device, None)
            case SetPeer(device, peer, present):
                if peer in self.refuses_peers:
                    raise EngineError(f"{device}: {peer}: illegal address")
                old = self.tunnels[device]
                peers = old.peers | {peer} if present else old.peers - {peer}
                self.tunnels[device] = Tunnel(old.device, old.vni, old.local, old.master, old.mtu, peers)
            case SetVirtual(device, range_, present):
                self.virtual.pop(range_, None)
                if present:
                    self.virtual[range_] = device
            case SetHairpin() | SetGateway():
                pass
            case MakeNetwork() | DropNetwork():
                raise AssertionError("the engine does that")

    async def rules(self, text: str) -> None:
        self._check()
        await asyncio.sleep(self.slow)
        self.table.load(text)

    async def guard(self) -> bool:
        self._check()
        was, self.guarded = self.guarded, True
        return was

    async def reserve(self, ports: frozenset[tuple[str, int]]) -> dict[tuple[str, int], str]:
        self.held = {*ports} - self.taken
        return {(name, port): f"port {port}/{name} is taken on this node" for name, port in sorted(ports & self.taken)}

    async def connections(self, addresses: frozenset[str], quiet: float) -> dict[str, int]:  # noqa: ARG002
        return {address: self.open.get(address, 0) for address in addresses}

    async def forget_flows(self, addresses: frozenset[str]) -> None:
        self.forgotten += sorted(addresses)

    async def reach(self, address: str, port: int) -> Reach:
        return self.reached.get((address, port), "silent" if address in self.silent else "open")

    async def ask(self, address: str, size: int) -> Asked:
        return self.asked.get((address, size > 0), "silent" if address in self.silent else "answered")

    async def neighbour(self, address: str) -> bool:
        return address in self.neighbours or address not in self.silent

    async def examine(self) -> Examination:
        return self.examination

    def serve_names(self, address: str, resolve: Resolve) -> AbstractAsyncContextManager[None]:
        return self._serve(address, resolve)

    @asynccontextmanager
    async def _serve(self, address: str, resolve: Resolve) -> AsyncIterator[None]:
        self.served[address] = resolve
        try:
            yield
        finally:
            self.served.pop(address, None)

    async def clear(self) -> None:
        self._check()
        self.tunnels.clear()
        self.virtual.clear()
        self.held.clear()
        self.table.load(gone())
        self.guarded = False

    def _check(self) -> None:
        if self.refuses:
            raise EngineError(self.refuses)
