"""What the kernel knows of connections (netlink): which are open to a backend, and forgetting where flows go."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pyroute2.conntrack import AsyncConntrack
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple

from schemas.errors import EngineError

SYN_RECEIVED, ESTABLISHED, FIN_WAIT, CLOSE_WAIT = 2, 3, 4, 5
CEILINGS: dict[int, tuple[float, ...]] = {
    SYN_RECEIVED: (60.0,),
    ESTABLISHED: (300.0, 432_000.0),
    FIN_WAIT: (120.0, 300.0),
    CLOSE_WAIT: (60.0, 300.0),
}
"""Open states -> the seconds that the kernel gives an entry of that state with each packet (its defaults; the smaller
one while data waits for its acknowledgement): so what is left of them tells how long it has been quiet."""

DESTINATION_CHANGED = 1 << 5
MISSING = 2


class Conntrack:
    """Asks in one go and closes again: it is needed seldom."""

    @asynccontextmanager
    async def _table(self) -> AsyncIterator[Any]:
        table = AsyncConntrack()
        try:
            await table.setup_endpoint()
            yield table
        except (NetlinkError, OSError) as error:
            raise EngineError(f"connections: {error.args[-1] if error.args else error}") from error
        finally:
            table.close()

    async def connections(self, addresses: frozenset[str], quiet: float) -> dict[str, int]:
        """See `agent.network.port.Machine`. Who answers is the reply's source."""
        found = dict.fromkeys(sorted(addresses), 0)
        async with self._table() as table:
            for address in found:
                wanted = NFCTAttrTuple(saddr=address, proto=socket.IPPROTO_TCP)
                async for entry in await table.dump_entries(tuple_reply=wanted):
                    found[address] += quiet_for(entry.protoinfo.state, entry.timeout) <= quiet
        return found

    async def forget_flows(self, addresses: frozenset[str]) -> None:
        """See `agent.network.port.Machine`. Only what was sent on: its destination was changed."""
        async with self._table() as table:
            for address in sorted(addresses):
                wanted = NFCTAttrTuple(saddr=address, proto=socket.IPPROTO_UDP)
                entries = [entry async for entry in await table.dump_entries(tuple_reply=wanted)]
                for entry in entries:
                    if entry.status & DESTINATION_CHANGED:
                        await _delete(table, entry)


async def _delete(table: Any, entry: Any) -> None:
    try:
        await table.delete(entry)
    except NetlinkError as error:
        if error.code != MISSING:
            raise


def quiet_for(state: int, left: float) -> float:
    """Seconds since the last packet of an entry with `left` seconds to live; infinite: it is not open."""
    return min((ceiling - left for ceiling in CEILINGS.get(state, ()) if ceiling >= left), default=float("inf"))
