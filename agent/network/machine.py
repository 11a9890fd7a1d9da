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

import structlog

from agent.network import reaching
from agent.network.conntrack import Conntrack
from agent.network.dns_server import serve_names
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

CHAIN = "DOCKMESH"
BRIDGES = "br-m+"
TOOLS = ("nft", "iptables")
SEARCH = "/usr/sbin:/sbin:/usr/local/sbin:/usr/bin:/bin"
LIMIT = 20.0
"""Seconds that a program gets."""

NEIGHBOUR_TRIES = 3
"""A neighbour that asks us something at the same moment is known without having answered us: then once more."""

log = structlog.get_logger()

_DNAT = ["-m", "conntrack", "--ctstate", "DNAT", "-j", "ACCEPT"]
_RULES = (["-o", BRIDGES, *_DNAT], ["-i", BRIDGES, *_DNAT])
_BRIDGED = ["-i", BRIDGES, "-o", BRIDGES, "-m", "physdev", "--physdev-is-bridged", "-j", "ACCEPT"]
"""What stays on its network needs no look at the engine's rules: a tenth more per second, seen. For speed alone."""
_PARENTS = ("FORWARD", "DOCKER-USER")


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
        self._loaded: frozenset[Rule] = frozenset()
        """The table's rules as they were loaded last."""
        self._chain = [_BRIDGED, *_RULES]
        """What stands in the iptables chain."""
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
            return await self._guard()

    async def _guard(self) -> bool:
        was = await self._write("bridge/bridge-nf-call-iptables", "1")
        code, listed = await self._run("iptables", "-w", "-S")
        if code:
            raise EngineError(f"iptables: {listed}")
        lines = listed.splitlines()
        if f"-N {CHAIN}" not in lines:
            was = False
            await self._iptables("-N", CHAIN)
        if len([line for line in lines if line.startswith(f"-A {CHAIN} ")]) != len(self._chain):
            was = False
            await self._fill_chain()
        for parent in _PARENTS:
            inside = [line for line in lines if line.startswith(f"-A {parent} ")]
            exists = parent == "FORWARD" or f"-N {parent}" in lines
            if not exists or inside[:1] == [f"-A {parent} -j {CHAIN}"]:
                continue
            was = False
            await self._iptables("-I", parent, "1", "-j", CHAIN)
            # Those that others have pushed down: each is one further down now; the last goes first.
            places = [number for number, line in enumerate(inside, 2) if line == f"-A {parent} -j {CHAIN}"]
            for place in reversed(places):
                await self._iptables("-D", parent, str(place))
        return was

    async def _fill_chain(self) -> None:
        await self._iptables("-F", CHAIN)
        for rule in list(self._chain):
            code, said = await self._run("iptables", "-w", "-A", CHAIN, *rule)
            if code and rule is _BRIDGED:
                self._chain.remove(rule)  # a kernel without xt_physdev
                log.info("network.bridged_rule_left_out", why=said)
            elif code:
                raise EngineError(f"iptables {' '.join(rule)}: {said}")

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
        _, listed = await self._run("iptables", "-w", "-S", "FORWARD")
        first = [line for line in listed.splitlines() if line.startswith("-A")][:1]
        async with self._surveying:
            tunnels = (await self._survey.find()).tunnels
        return Examination(
            bridge_nf=await self._read("bridge/bridge-nf-call-iptables") in ("1", ""),
            forwarding=await self._read("ipv4/ip_forward") != "0",
            chain_first=first == [f"-A FORWARD -j {CHAIN}"],
            table=await self.has_rules(),
            tunnel_port=any(tunnel.up for tunnel in tunnels.values()) or is_free(TUNNEL_PORT),
        )

    def serve_names(self, address: str, resolve: Resolve) -> AbstractAsyncContextManager[None]:
        return serve_names(address, resolve, self._chance)

    async def clear(self) -> None:
        found = await self.find()
        for device in (*sorted(found.tunnels), *sorted(found.bridges)):
            await self._netlink.drop(device)
        await self.rules(gone())
        for parent in _PARENTS:
            while (await self._run("iptables", "-w", "-D", parent, "-j", CHAIN))[0] == 0:
                pass
        await self._run("iptables", "-w", "-F", CHAIN)
        await self._run("iptables", "-w", "-X", CHAIN)
        await self.reserve(frozenset())
        await self._netlink.close()
        await self._nft.close()
        self._ruleset.close()

    async def _iptables(self, *arguments: str) -> None:
        code, said = await self._run("iptables", "-w", *arguments)
        if code:
            raise EngineError(f"iptables {' '.join(arguments)}: {said}")

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
