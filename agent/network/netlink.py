"""Links, tunnels and routes of the mesh through netlink. Only here is pyroute2 imported."""

from __future__ import annotations

import asyncio
import errno
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from agent.network.model import Bridge
from agent.network.steps import Found, Tunnel
from schemas.errors import EngineError
from schemas.network import TUNNEL_PORT

OURS = re.compile(r"^(br|vx)-m[0-9]+$")
ENTERED, LOCAL_TABLE, MAIN_TABLE = 17, 255, 254
EVERYBODY = "00:00:00:00:00:00"
BRIDGE_PORT_INFO, HAIRPIN = "IFLA_PROTINFO", "IFLA_BRPORT_MODE"
AF_BRIDGE, AF_INET = 7, 2
NTF_SELF = 2
REACHABLE, UNRESOLVED = 0x02, 0x01 | 0x20
"""Neighbours that have answered; that are asked for, or did not answer. Others are only known from their own asking."""
LOCAL, UNICAST = 2, 1

Attributes = Mapping[str, Any]


class Netlink:
    """One socket, opened with the first call."""

    def __init__(self) -> None:
        self._socket: Any = None

    async def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    @asynccontextmanager
    async def _route(self, what: str) -> AsyncIterator[Any]:
        if self._socket is None:
            self._socket = AsyncIPRoute()
            await self._socket.setup_endpoint()
        try:
            yield self._socket
        except NetlinkError as error:
            raise EngineError(f"{what}: {error.args[-1] if error.args else error}") from error
        except (OSError, ValueError) as error:
            # What can't be sent, such as an address that is none; or the socket itself has failed.
            await self.close()
            raise EngineError(f"{what}: {error}") from error
        except asyncio.CancelledError:
            await self.close()  # a list may be half read: the kernel would refuse the next
            raise

    async def _links(self) -> dict[int, Any]:
        async with self._route("list links") as route:
            return {link["index"]: link async for link in await route.link("dump")}

    async def find(self) -> Found:
        """Bridges, tunnels with their peers, ports of bridges, local ranges; those that bear the mesh's names."""
        links = await self._links()
        names = {index: link.get("ifname") for index, link in links.items()}
        bridges = frozenset(name for name in names.values() if OURS.match(name) and name.startswith("br-"))
        peers = await self._peers({i for i, name in names.items() if OURS.match(name) and name.startswith("vx-")})
        tunnels = {
            names[index]: _tunnel(link, names, peers.get(index, frozenset()))
            for index, link in links.items()
            if OURS.match(names[index]) and names[index].startswith("vx-")
        }
        hairpins = await self._hairpins()
        ports = {
            f"{names.get(link.get('master'))} {names[index]}": hairpins.get(index, False)
            for index, link in links.items()
            if names.get(link.get("master")) in bridges and names[index] not in tunnels
        }
        addresses, own = await self._addresses(names, bridges)
        virtual = await self._virtual(names)
        return Found(tunnels=tunnels, virtual=virtual, bridges=bridges, addresses=addresses, own=own, ports=ports)

    async def _addresses(
        self, names: Mapping[int, str], bridges: frozenset[str]
    ) -> tuple[dict[str, frozenset[str]], frozenset[str]]:
        """Those of these bridges, and all of this machine."""
        found: dict[str, set[str]] = {bridge: set() for bridge in bridges}
        own: set[str] = set()
        async with self._route("list addresses") as route:
            async for each in await route.addr("dump", family=AF_INET):
                address = each.get("local") or each.get("address")
                own.add(address)
                found.get(names.get(each["index"], ""), set()).add(address)
        return {bridge: frozenset(each) for bridge, each in found.items()}, frozenset(own)

    async def _peers(self, devices: set[int]) -> dict[int, frozenset[str]]:
        found: dict[int, set[str]] = {}
        async with self._route("list peers") as route:
            async for entry in await route.fdb("dump"):
                if entry["ifindex"] in devices and entry.get("lladdr") == EVERYBODY and entry.get("dst"):
                    found.setdefault(entry["ifindex"], set()).add(entry.get("dst"))
        return {index: frozenset(each) for index, each in found.items()}

    async def _hairpins(self) -> dict[int, bool]:
        found: dict[int, bool] = {}
        async with self._route("list ports") as route:
            async for port in await route.brport("dump"):
                info = port.get("protinfo")
                found[port["index"]] = bool(info.get("mode")) if info is not None else False
        return found

    async def _virtual(self, names: Mapping[int, str]) -> dict[str, str]:
        async with self._route("list routes") as route:
            return {
                f"{each.get('dst')}/{each['dst_len']}": names.get(each.get("oif"), "")
                async for each in await route.route("dump", family=AF_INET, table=LOCAL_TABLE)
                if each["type"] == LOCAL and each["dst_len"] < 32 and OURS.match(names.get(each.get("oif"), ""))
            }

    async def routes(self) -> tuple[str, ...]:
        """Ranges in the main table that are not the mesh's; the default route is told as none."""
        links = await self._links()
        names = {index: link.get("ifname") for index, link in links.items()}
        async with self._route("list routes") as route:
            found = {
                f"{each.get('dst')}/{each['dst_len']}"
                async for each in await route.route("dump", family=AF_INET, table=MAIN_TABLE)
                if each["dst_len"] and each.get("dst") and not OURS.match(names.get(each.get("oif"), ""))
            }
        return tuple(sorted(found))

    async def neighbour(self, address: str) -> bool | None:
        """Whether who has this address has answered on a bridge of the mesh. None: it has only asked us something."""
        states = [each["state"] for each in await self._neighbours(address) if each.get("lladdr")]
        if any(state & REACHABLE for state in states):
            return True
        return None if any(not state & UNRESOLVED for state in states) else False

    async def forget_neighbour(self, address: str) -> None:
        """Have it found out anew who has this address."""
        async with self._route(f"forget {address}") as route:
            for each in await self._neighbours(address):
                await route.neigh("del", ifindex=each["ifindex"], dst=address)

    async def _neighbours(self, address: str) -> list[Any]:
        links = await self._links()
        ours = {index for index, link in links.items() if OURS.match(link.get("ifname"))}
        async with self._route("list neighbours") as route:
            found = [each async for each in await route.neigh("dump", family=AF_INET)]
        return [each for each in found if each["ifindex"] in ours and each.get("dst") == address]

    async def mtu(self, address: str) -> int:
        """Of the interface with this address; 1500 if none has it."""
        links = await self._links()
        async with self._route("list addresses") as route:
            # To its end: the kernel refuses the next list while this one is under way.
            found = [each async for each in await route.addr("dump", family=AF_INET)]
        with_it = (links.get(each["index"]) for each in found if address in (each.get("local"), each.get("address")))
        return next((int(link.get("mtu")) for link in with_it if link is not None), 1500)

    async def make_tunnel(self, bridge: Bridge) -> None:
        """The tunnel's device, as a port of the bridge."""
        async with self._route(f"make {bridge.vxlan}") as route:
            master = await self._index(bridge.device)
            await route.link(
                "add",
                ifname=bridge.vxlan,
                kind="vxlan",
                vxlan_id=bridge.vni,
                vxlan_local=bridge.tunnel,
                vxlan_port=TUNNEL_PORT,
                vxlan_learning=1,
                vxlan_ttl=64,
                mtu=bridge.mtu,
            )
            await route.link("set", index=await self._index(bridge.vxlan), master=master, state="up")

    async def drop(self, device: str) -> None:
        """Remove a device of ours; one that is gone is fine."""
        assert OURS.match(device), f"{device} is none of the mesh's"
        async with self._route(f"remove {device}") as route:
            for index in await route.link_lookup(ifname=device):
                await route.link("del", index=index)

    async def set_peer(self, device: str, peer: str, *, present: bool) -> None:
        """Have the tunnel send to a machine what everybody must see."""
        index = await self._index(device)
        async with self._route(f"{device}: {peer}") as route:
            verb = "append" if present else "del"
            await route.fdb(verb, ifindex=index, lladdr=EVERYBODY, dst=peer, flags=NTF_SELF)
            if not present:
                await self._unlearn(route, index, peer)

    async def _unlearn(self, route: Any, index: int, peer: str) -> None:
        """Forget which containers were seen behind a machine: it may have moved, and they with it."""
        found = [entry async for entry in await route.fdb("dump") if entry["ifindex"] == index]
        for entry in found:
            if entry.get("dst") == peer:
                try:
                    await route.fdb("del", ifindex=index, lladdr=entry.get("lladdr"), dst=peer, flags=NTF_SELF)
                except NetlinkError as error:
                    if error.code != errno.ENOENT:
                        raise

    async def set_gateway(self, bridge: Bridge) -> None:
        """The bridge's own address, in the network's subnet."""
        index = await self._index(bridge.device)
        async with self._route(f"{bridge.device}: {bridge.gateway}") as route:
            await route.addr(
                "replace", index=index, address=bridge.gateway, prefixlen=int(bridge.subnet.rpartition("/")[2])
            )

    async def set_virtual(self, device: str, range_: str, *, present: bool) -> None:
        """Answer for a range on a bridge."""
        index = await self._index(device)
        async with self._route(f"{device}: {range_}") as route:
            verb = "replace" if present else "del"
            await route.route(verb, dst=range_, oif=index, type="local", table=LOCAL_TABLE, scope=254)

    async def set_hairpin(self, device: str) -> None:
        """Let what a bridge's port sends come back to it."""
        index = await self._index(device)
        async with self._route(f"{device}: hairpin") as route:
            await route.brport("set", index=index, mode=1)

    async def _index(self, device: str) -> int:
        async with self._route(device) as route:
            found = await route.link_lookup(ifname=device)
        if not found:
            raise EngineError(f"there is no device {device}")
        return int(found[0])


def _tunnel(link: Any, names: Mapping[int, str], peers: frozenset[str]) -> Tunnel:
    info = link.get(("linkinfo", "data"))
    return Tunnel(
        device=link.get("ifname"),
        vni=info.get("vxlan_id") if info is not None else 0,
        local=(info.get("vxlan_local") or "") if info is not None else "",
        master=names.get(link.get("master"), ""),
        mtu=link.get("mtu"),
        peers=peers,
        up=bool(link["flags"] & 1),
    )
