"""The port to the machine: all that needs rights on it (CAP_NET_ADMIN, CAP_NET_BIND_SERVICE), and no decision.

One adapter: `agent.network.machine`. Every method may be called again after a crash at any point; all raise
`schemas.errors.EngineError` with one readable line when the machine refuses.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from agent.network.names import Reply
from agent.network.steps import Found, Step

Resolve = Callable[[str, str, str], Reply]
"""Asker's address, name, record type -> reply."""

Reach = Literal["open", "refused", "silent", "unreachable"]
"""What came of an attempt to connect. refused: somebody is there; silent: no word; unreachable: no way, or nobody."""

Asked = Literal["answered", "silent", "too large"]

Changed = Literal["links", "addresses", "rules"]
"""What others have changed. links: routes, too."""


@dataclass(frozen=True)
class Examination:
    """What the mesh relies on, as a machine has it."""

    bridge_nf: bool = True
    """Bridges ask the rules."""
    forwarding: bool = True
    chain_first: bool = True
    """Forwarded packets of the mesh are let through before anything else is asked."""
    table: bool = True
    """The nftables table stands."""
    tunnel_port: bool = True
    """No other program has the tunnels' UDP port."""


class Machine(Protocol):
    """One machine's networking."""

    async def trouble(self) -> str:
        """Why this machine can't have networks of the mesh, in one line; "" if it can."""
        ...

    async def mtu(self, address: str) -> int:
        """Of the interface that has this address; 1500 if none has."""
        ...

    async def address(self) -> str:
        """The one that it speaks to the world with; "" without a default route."""
        ...

    async def has_rules(self) -> bool:
        """Whether the table stands, with the chains and rules that were loaded last (elements are not compared)."""
        ...

    async def watch(self, changed: Callable[[Changed], None]) -> None:
        """Tell for ever what others change here; what this object does to rules is not told."""
        ...

    async def routes(self) -> tuple[str, ...]:
        """Ranges that this machine routes, those of the mesh's bridges left out."""
        ...

    async def find(self) -> Found:
        """What bears the mesh's names (the engine's networks are not looked at)."""
        ...

    async def do(self, step: Step) -> None:
        """Carry out a step that is the kernel's."""
        ...

    async def rules(self, text: str) -> None:
        """One transaction of nftables."""
        ...

    async def guard(self) -> bool:
        """See to it that forwarded packets of ours are let through and bridges ask the rules; whether it was so."""
        ...

    async def reserve(self, ports: frozenset[tuple[str, int]]) -> dict[tuple[str, int], str]:
        """Hold these ports (protocol, number) and let go of others; those that others have -> why."""
        ...

    async def connections(self, addresses: frozenset[str], quiet: float) -> dict[str, int]:
        """How many TCP connections to each of these are open and had a packet within the last `quiet` seconds."""
        ...

    async def forget_flows(self, addresses: frozenset[str]) -> None:
        """Forget where UDP flows go that were sent on to these: their next packet goes elsewhere."""
        ...

    async def reach(self, address: str, port: int) -> Reach:
        """What comes of one attempt to connect there by TCP."""
        ...

    async def ask(self, address: str, size: int) -> Asked:
        """What comes of one question to the name server there, in a packet of that size that may not be cut."""
        ...

    async def neighbour(self, address: str) -> bool:
        """Whether the kernel finds out, on a bridge of the mesh, who has this address: it is made to ask anew."""
        ...

    async def examine(self) -> Examination:
        """What the mesh relies on here, as it is; nothing is changed."""
        ...

    def serve_names(self, address: str, resolve: Resolve) -> AbstractAsyncContextManager[None]:
        """Answer on port 53 of that address, by UDP and TCP, as long as the context lasts."""
        ...

    async def clear(self) -> None:
        """Remove all that is ours but the engine's networks."""
        ...
