"""The port to the machine: all that needs rights on it (CAP_NET_ADMIN, CAP_NET_BIND_SERVICE), and no decision.

One adapter: `agent.network.machine`. Every method may be called again after a crash at any point; all raise
`schemas.errors.EngineError` with one readable line when the machine refuses.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from agent.network.names import Reply
from agent.network.steps import Found, Step

Resolve = Callable[[str, str, str], Reply]
"""Asker's address, name, record type -> reply."""


class Machine(Protocol):
    """One machine's networking."""

    async def trouble(self) -> str:
        """Why this machine can't have networks of the mesh, in one line; "" if it can."""
        ...

    async def mtu(self, address: str) -> int:
        """Of the interface that has this address; 1500 if none has."""
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

    async def answers(self, address: str, ports: frozenset[int]) -> bool:
        """Whether something takes TCP connections there on one of `ports`; without any: whether it is there at all."""
        ...

    def serve_names(self, address: str, resolve: Resolve) -> AbstractAsyncContextManager[None]:
        """Answer on port 53 of that address, by UDP and TCP, as long as the context lasts."""
        ...

    async def clear(self) -> None:
        """Remove all that is ours but the engine's networks."""
        ...
