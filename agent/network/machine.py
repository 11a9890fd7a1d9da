"""This machine: netlink, `nft`, `iptables`, /proc/sys/net and sockets. The small part of an agent that needs rights.

It needs CAP_NET_ADMIN (links, routes, rules) and CAP_NET_BIND_SERVICE (port 53 and published ports below 1024), and
nothing of it reaches into containers. iptables is run as a program.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import assert_never

from agent.network import reaching
from agent.network.conntrack import Conntrack
from agent.network.dns_server import serve_names
from agent.network.firewall import Firewall
from agent.network.forwarding import Resolvers
from agent.network.monitor import Monitor
from agent.network.netlink import Netlink
from agent.network.nftables import Nftables
from agent.network.port import Asked, Changed, Examination, Reach, Resolve
from agent.network.rules import TABLE, gone
from agent.network.ruleset import Rule, Ruleset
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
)
from schemas.errors import EngineError
from schemas.network import TUNNEL_PORT

TOOLS = ("nft", "iptables")
SEARCH = "/usr/sbin:/sbin:/usr/local/sbin:/usr/bin:/bin"
LIMIT = 20.0
"""Seconds that a program gets."""

NEIGHBOUR_TRIES = 3
"""A neighbour that asks us something at the same moment is known without having answered us: then once more."""


class LinuxMachine:
    """See `agent.network.port.Machine`. `sysctls`: where /proc/sys/net is."""

    def __init__(self, chance: random.Random, sysctls: Path = Path("/proc/sys/net")) -> None:
        self._chance = chance
        self._sysctls = sysctls
        self._netlink = Netlink()
        self._survey = Netlink()
        """Of its own: the kernel refuses a second list on one socket while one is under way."""
        self._surveying = asyncio.Lock()
        self._conntrack = Conntrack()
        self._nft = Nftables(lambda text: self._run("nft", "-f", "-", text=text))
        self._ruleset = Ruleset()
        self._monitor = Monitor(self._ruleset)
        self._resolvers = Resolvers()
        self._loaded: frozenset[Rule] = frozenset()
        """The table's rules as they were loaded last."""
        self._firewall = Firewall(self._run)
        self._held: dict[tuple[str, int], socket.socket] = {}

    async def trouble(self) -> str:
        missing = [tool for tool in TOOLS if shutil.which(tool, path=SEARCH) is None]
        if missing:
            return f"networks need {' and '.join(missing)} on this machine"
        code, said = await self._nft.run("list tables")
        if code:
            return f"networks need the right to change them (CAP_NET_ADMIN): {said}"
        return ""

    async def mtu(self, address: str) -> int:
        async with self._surveying:
            return await self._survey.mtu(address)

    async def address(self) -> str:
        return reaching.own_address()

    async def has_rules(self) -> bool:
        found = self._ruleset.rules(TABLE)
        return bool(found) and found == (self._loaded or found)

    async def watch(self, changed: Callable[[Changed], None]) -> None:
        await self._monitor.run(changed)

    async def routes(self) -> tuple[str, ...]:
        async with self._surveying:
            return await self._survey.routes()

    async def find(self) -> Found:
        return await self._netlink.find()

    async def do(self, step: Step) -> None:
        match step:
            case MakeTunnel(bridge):
                await self._netlink.make_tunnel(bridge)
                await self._write(f"ipv4/conf/{bridge.device}/route_localnet", "1")
            case DropDevice(device):
                await self._netlink.drop(device)
            case SetPeer(device, peer, present):
                await self._netlink.set_peer(device, peer, present=present)
            case SetGateway(bridge):
                await self._netlink.set_gateway(bridge)
            case SetVirtual(device, range_, present):
                await self._netlink.set_virtual(device, range_, present=present)
            case SetHairpin(device):
                await self._netlink.set_hairpin(device)
            case MakeNetwork() | DropNetwork():
                raise AssertionError("the engine does that")
            case _:
                assert_never(step)

    async def rules(self, text: str) -> None:
        with self._monitor.ours():
            code, said = await self._nft.run(text)
            if code:
                raise EngineError(f"nft: {said}")
            if "chain " in text:
                self._loaded = self._ruleset.rules(TABLE)

    async def guard(self) -> bool:
        with self._monitor.ours():
            was = await self._write("bridge/bridge-nf-call-iptables", "1")
            return await self._firewall.guard() and was

    async def reserve(self, ports: frozenset[tuple[str, int]]) -> dict[tuple[str, int], str]:
        for port in self._held.keys() - ports:
            self._held.pop(port).close()
        refused: dict[tuple[str, int], str] = {}
        for protocol, number in sorted(ports - self._held.keys()):
            held = socket.socket(socket.AF_INET, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)
            try:
                held.bind(("0.0.0.0", number))
                self._held[protocol, number] = held
            except OSError as error:
                held.close()
                refused[protocol, number] = f"port {number}/{protocol} is taken on this node ({error.strerror})"
        return refused

    async def connections(self, addresses: frozenset[str], quiet: float) -> dict[str, int]:
        return await self._conntrack.connections(addresses, quiet)

    async def forget_flows(self, addresses: frozenset[str]) -> None:
        await self._conntrack.forget_flows(addresses)

    async def reach(self, address: str, port: int) -> Reach:
        return await reaching.reach(address, port)

    async def ask(self, address: str, size: int) -> Asked:
        return await reaching.ask(address, size)

    async def neighbour(self, address: str) -> bool:
        for _ in range(NEIGHBOUR_TRIES):
            async with self._surveying:
                await self._survey.forget_neighbour(address)
            await reaching.reach(address, 53)
            async with self._surveying:
                answered = await self._survey.neighbour(address)
            if answered is not None:
                return answered
        return False

    async def examine(self) -> Examination:
        async with self._surveying:
            tunnels = (await self._survey.find()).tunnels
        return Examination(
            bridge_nf=await self._read("bridge/bridge-nf-call-iptables") in ("1", ""),
            forwarding=await self._read("ipv4/ip_forward") != "0",
            chain_first=await self._firewall.is_first(),
            table=await self.has_rules(),
            tunnel_port=any(tunnel.up for tunnel in tunnels.values()) or is_free(TUNNEL_PORT),
        )

    def serve_names(self, address: str, resolve: Resolve) -> AbstractAsyncContextManager[None]:
        return serve_names(address, resolve, self._chance, self._resolvers)

    async def clear(self) -> None:
        found = await self.find()
        for device in (*sorted(found.tunnels), *sorted(found.bridges)):
            await self._netlink.drop(device)
        await self.rules(gone())
        await self._firewall.clear()
        await self.reserve(frozenset())
        await self._netlink.close()
        await self._nft.close()
        self._ruleset.close()

    async def _run(self, *command: str, text: str = "") -> tuple[int, str]:
        """Run a program: its exit code and what it said. Raises EngineError when it does not end."""
        program = shutil.which(command[0], path=SEARCH) or command[0]
        process = await asyncio.create_subprocess_exec(
            program,
            *command[1:],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(LIMIT):
                said, _ = await process.communicate(text.encode())
        except TimeoutError:
            process.kill()
            raise EngineError(f"{command[0]} did not end within {LIMIT:g} s") from None
        return process.returncode or 0, said.decode(errors="replace").strip()

    async def _write(self, name: str, value: str) -> bool:
        """Set a value of the kernel; whether it was so. A kernel without it is told by the first tunnel or bridge."""

        def work() -> bool:
            path = self._sysctls / name
            if not path.exists():
                return True
            if path.read_text().strip() == value:
                return True
            path.write_text(value)
            return False

        return await asyncio.get_running_loop().run_in_executor(None, work)

    async def _read(self, name: str) -> str:
        """A value of the kernel; "" where there is none."""

        def work() -> str:
            path = self._sysctls / name
            return path.read_text().strip() if path.exists() else ""

        return await asyncio.get_running_loop().run_in_executor(None, work)


def is_free(port: int) -> bool:
    """Whether nobody has this UDP port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as tried:
        try:
            tried.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True
