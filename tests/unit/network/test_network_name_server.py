"""The name server and the resolvers behind it, over real sockets on the machine itself."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from dnslib import QTYPE, RCODE, RR, TXT, DNSRecord

from agent.network import dns_server, serving
from agent.network.dns_server import serve_names
from agent.network.forwarding import Resolvers, Way
from agent.network.names import Answer, Forward, Reply
from agent.network.serving import NameServers

HERE = f"127.0.53.{1 + int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0').removeprefix('gw'))}"
"""Of this machine, and of this process alone: ports are free there by UDP and TCP alike."""
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


async def ask_of(data: bytes, port: int) -> DNSRecord | None:
    """By UDP, whatever bytes these are; None: nobody answers."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.setblocking(False)
        asker.connect((HERE, port))
        try:
            await loop.sock_sendall(asker, data)
            async with asyncio.timeout(1.0):
                return DNSRecord.parse(await loop.sock_recv(asker, 2000))
        except (OSError, TimeoutError):
            return None


@pytest.mark.parametrize("labels", [[b"a" * 63] * 4, [b"a" * 100, b"com"]], ids=["long name", "long label"])
async def test_a_question_that_can_not_even_be_answered_ends_nothing(labels: list[bytes], tmp_path: Path) -> None:
    """No resolver answers, and a refusal would have to repeat its name."""
    name = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    packet = struct.pack(">HHHHHH", 1, 0x0100, 1, 0, 0, 0) + name + struct.pack(">HH", 1, 1)
    async with served(await free_port(), tmp_path) as front:
        assert await ask_of(packet, front._port) is None
        await asyncio.sleep(0.5)
        assert await ask_of(question("web", "A"), front._port) is not None


async def test_a_name_of_just_the_longest_length_is_answered(tmp_path: Path) -> None:
    name = ".".join(["a" * 63] * 3 + ["a" * 61])
    async with served(await free_port(), tmp_path) as front:
        refused = await ask_of(question(name, "A"), front._port)
        assert refused is not None
        assert (refused.header.rcode, len(refused.questions[0].qname)) == (RCODE.SERVFAIL, 253)


class Told:
    """A log of failures: printed, their tracebacks would read files."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def exception(self, event: str, **_: object) -> None:
        self.events.append(event)


async def test_a_fault_in_answering_one_question_ends_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    class Faulty(Resolvers):
        async def ask(self, question: bytes, way: Way) -> bytes | None:
            raise RuntimeError("nobody thought of it")

    monkeypatch.setattr(dns_server, "log", told := Told())
    port = await free_port()
    async with serve_names(HERE, resolve, random.Random(1), Faulty(), port):
        assert await ask_of(question("elsewhere.example", "A"), port) is None
        assert await ask_of(question("web", "A"), port) is not None
    assert told.events == ["dns.not_answered"]


@pytest.mark.parametrize("odd", [b"127.0.0.9\xa0", b"a..b", b"127.0.0.9\0"])
async def test_a_resolver_that_has_no_address_is_passed_over(odd: bytes, tmp_path: Path) -> None:
    configuration = tmp_path / "resolv.conf"
    configuration.write_bytes(b"nameserver " + odd + b"\nnameserver " + HERE.encode() + b"\n")
    async with upstream() as behind:
        assert await Resolvers(configuration, behind.port).ask(question(LONG, "TXT"), "udp")


async def test_a_configuration_of_another_encoding_is_read(tmp_path: Path) -> None:
    configuration = tmp_path / "resolv.conf"
    configuration.write_bytes(b"# g\xe9n\xe9r\xe9 par dhcp\nnameserver " + HERE.encode() + b"\n")
    async with upstream() as behind:
        assert await Resolvers(configuration, behind.port).ask(question(LONG, "TXT"), "udp")


class Failing:
    """A machine whose name servers fail once they serve, so many times."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.serving: list[str] = []

    @asynccontextmanager
    async def serve_names(self, address: str, resolve: object) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            self.serving.append(address)
            if self.times:
                self.times -= 1
                group.create_task(self._fail())
            yield
            self.serving.remove(address)

    async def _fail(self) -> None:
        self.serving.clear()
        raise ValueError("a question that nobody thought of")


async def test_a_name_server_that_fails_is_begun_anew_and_the_others_answer_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "RETRY", 0.05)
    machine = Failing(2)
    servers = NameServers(machine, resolve)  # type: ignore[arg-type]
    servers.on({"10.192.1.1"})
    monkeypatch.setattr(serving, "log", told := Told())
    task = asyncio.create_task(servers.run())
    async with asyncio.timeout(5):
        while machine.times or not machine.serving:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    assert told.events == ["names.failed"] * 2
    assert servers.troubles == {}
    assert machine.serving == ["10.192.1.1"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("turns", range(6))
async def test_name_servers_end_as_they_are_told_also_while_one_fails(
    turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Failing(1)
    servers = NameServers(machine, resolve)  # type: ignore[arg-type]
    servers.on({"10.192.1.1"})
    monkeypatch.setattr(serving, "log", Told())
    task = asyncio.create_task(servers.run())
    while not machine.serving:
        await asyncio.sleep(0)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    async with asyncio.timeout(2):
        await asyncio.gather(task, return_exceptions=True)


async def test_name_servers_that_are_run_anew_serve_what_they_served() -> None:
    machine = Failing(0)
    servers = NameServers(machine, resolve)  # type: ignore[arg-type]
    servers.on({"10.192.1.1"})
    for _ in range(2):
        task = asyncio.create_task(servers.run())
        await asyncio.sleep(0.05)
        assert machine.serving == ["10.192.1.1"]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        machine.serving.clear()
