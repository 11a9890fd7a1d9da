"""The name server and the resolvers behind it, over real sockets on the machine itself."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dnslib import QTYPE, RCODE, RR, TXT, DNSRecord

from agent.network.dns_server import serve_names
from agent.network.forwarding import Resolvers
from agent.network.names import Answer, Forward, Reply

HERE = "127.0.53.1"
"""Of this machine, and nobody else's: ports are free there by UDP and TCP alike."""
LONG = "long.example."
RECORDS = 20
"""So many of 100 bytes do not fit into 512."""


def resolve(asker: str, name: str, kind: str) -> Reply:
    return Answer(("10.192.1.2",)) if name.rstrip(".") == "web" else Forward()


@dataclass
class Upstream(asyncio.DatagramProtocol):
    """A resolver that knows one long answer: cut by UDP, whole by TCP (if it speaks that)."""

    port: int = 0
    asked: list[str] = field(default_factory=list)
    transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.asked.append("udp")
        assert self.transport is not None
        self.transport.sendto(self.answer(data).truncate().pack(), addr)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append("tcp")
        data = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        packed = self.answer(data).pack()
        writer.write(len(packed).to_bytes(2, "big") + packed)
        await writer.drain()
        writer.close()

    def answer(self, data: bytes) -> DNSRecord:
        answer = DNSRecord.parse(data).reply()
        for number in range(RECORDS):
            answer.add_answer(RR(LONG, QTYPE.TXT, rdata=TXT(f"{number:03} {'x' * 96}"), ttl=60))
        return answer


@asynccontextmanager
async def upstream(*, tcp: bool = True) -> AsyncIterator[Upstream]:
    made = Upstream()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: made, local_addr=(HERE, 0))
    made.port = transport.get_extra_info("sockname")[1]
    server = await asyncio.start_server(made.converse, HERE, made.port) if tcp else None
    try:
        yield made
    finally:
        transport.close()
        if server is not None:
            server.close()
            await server.wait_closed()


@asynccontextmanager
async def served(behind: int, tmp_path: Path) -> AsyncIterator[Resolvers]:
    """A name server with a resolver on that port behind it; asked as the machine's own are."""
    configuration = tmp_path / "resolv.conf"
    configuration.write_text(f"search lan\nnameserver ::1\nnameserver {HERE}\n")
    front = tmp_path / "front.conf"
    front.write_text(f"nameserver {HERE}\n")
    with_port = await free_port()
    async with serve_names(HERE, resolve, random.Random(1), Resolvers(configuration, behind), with_port):
        yield Resolvers(front, with_port)


async def free_port() -> int:
    """One that nobody has by TCP just now."""
    server = await asyncio.start_server(lambda _r, _w: None, HERE, 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


def question(name: str, kind: str) -> bytes:
    packed: bytes = DNSRecord.question(name, kind).pack()
    return packed


async def test_a_long_answer_comes_cut_by_udp_and_whole_by_tcp(tmp_path: Path) -> None:
    async with upstream() as behind, served(behind.port, tmp_path) as front:
        cut = DNSRecord.parse(await front.ask(question(LONG, "TXT"), "udp") or b"")
        assert (cut.header.tc, cut.rr) == (1, []), "passed on as it came: the asker comes again by TCP"
        whole = await front.ask(question(LONG, "TXT"), "tcp") or b""
        assert len(whole) > 512
        found = DNSRecord.parse(whole)
        assert (found.header.tc, len(found.rr)) == (0, RECORDS)
        assert behind.asked == ["udp", "tcp"]


async def test_the_mesh_answers_for_its_own_names_by_both_and_asks_nobody(tmp_path: Path) -> None:
    async with upstream() as behind, served(behind.port, tmp_path) as front:
        for way in ("udp", "tcp"):
            found = DNSRecord.parse(await front.ask(question("web", "A"), way) or b"")  # type: ignore[arg-type]
            assert [str(each.rdata) for each in found.rr] == ["10.192.1.2"]
        assert behind.asked == []


async def test_a_resolver_without_tcp_is_asked_by_udp_then(tmp_path: Path) -> None:
    async with upstream(tcp=False) as behind, served(behind.port, tmp_path) as front:
        found = DNSRecord.parse(await front.ask(question(LONG, "TXT"), "tcp") or b"")
        assert (found.header.tc, behind.asked) == (1, ["udp"])


async def test_where_no_resolver_answers_that_is_told_at_once(tmp_path: Path) -> None:
    async with served(await free_port(), tmp_path) as front:
        found = DNSRecord.parse(await front.ask(question(LONG, "TXT"), "tcp") or b"")
        assert found.header.rcode == RCODE.SERVFAIL
