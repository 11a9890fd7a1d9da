"""A small DNS server at one address, by UDP and TCP: asks `resolve`, forwards the rest (`forwarding`).

Containers reach it through their engine's own resolver, which has their address as source. Answers never wait for
NATS: they come from what the agent holds in memory.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import structlog
from dnslib import AAAA, QTYPE, RCODE, RR, A, DNSError, DNSRecord

from agent.network.forwarding import Resolvers, Way
from agent.network.names import Answer, Forward, Unknown
from agent.network.port import Resolve

log = structlog.get_logger()

PORT = 53
AT_ONCE = 256
"""Questions by UDP that are being forwarded at the same time; more are refused."""
PLAIN = 512
"""Bytes of an answer by UDP to who does not say that it takes more."""
LONGEST = 253
LONGEST_LABEL = 63
"""Bytes of a name, and of what stands between two of its dots (RFC 1035, section 2.3.4; the name without its outer
lengths): a longer one can't even be answered."""
IP_FREEBIND = 15


@asynccontextmanager
async def serve_names(
    address: str, resolve: Resolve, chance: random.Random, resolvers: Resolvers, port: int = PORT
) -> AsyncIterator[None]:
    """Answer on that port of `address`; what is not the mesh's, `resolvers` do. Raises OSError: it is taken."""
    async with asyncio.TaskGroup() as group:
        server = _Server(resolve, group, chance, resolvers)
        udp = _bound(address, port, socket.SOCK_DGRAM)
        tcp = _bound(address, port, socket.SOCK_STREAM)
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: _Datagrams(server), sock=udp)
        streams = await asyncio.start_server(server.converse, sock=tcp)
        try:
            yield
        finally:
            transport.close()
            streams.close()
            server.stop()


def _bound(address: str, port: int, kind: socket.SocketKind) -> socket.socket:
    """A socket at the address, which may come later."""
    made = socket.socket(socket.AF_INET, kind)
    try:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(kind == socket.SOCK_STREAM))
        made.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        made.bind((address, port))
    except OSError:
        made.close()
        raise
    return made


class _Server:
    def __init__(self, resolve: Resolve, group: asyncio.TaskGroup, chance: random.Random, resolvers: Resolvers) -> None:
        self._chance = chance
        self._resolve = resolve
        self._resolvers = resolvers
        self._group = group
        self._forwarding: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        """Give up what is under way."""
        for task in self._forwarding:
            task.cancel()

    def take(self, data: bytes, asker: tuple[str, int], transport: asyncio.DatagramTransport) -> None:
        """A question by UDP."""
        found = self.answer(data, asker[0])
        if found is None:
            return
        question, answer = found
        if answer is not None:
            transport.sendto(_fitted(question, answer), asker)
        elif len(self._forwarding) < AT_ONCE:

            async def forward() -> None:
                try:
                    answered = await self._forward(data, question, "udp")
                    if not transport.is_closing():
                        transport.sendto(answered, asker)
                except Exception:  # one question must not end the answers to all others
                    log.exception("dns.not_answered", asker=asker[0])

            task = self._group.create_task(forward())
            self._forwarding.add(task)
            task.add_done_callback(self._forwarding.discard)
        else:
            transport.sendto(_refusal(question, RCODE.SERVFAIL), asker)

    def answer(self, data: bytes, asker: str) -> tuple[DNSRecord, DNSRecord | None] | None:
        """The question and its answer (None: to be forwarded); None: it is no question."""
        try:
            question = DNSRecord.parse(data)
        except (DNSError, ValueError, IndexError):
            return None
        if question.header.qr or len(question.questions) != 1:
            return None
        asked = question.questions[0]
        kind = QTYPE.get(asked.qtype)
        if len(asked.qname) > LONGEST or any(len(label) > LONGEST_LABEL for label in asked.qname.label):
            return None
        name = str(asked.qname)
        reply = self._resolve(asker, name, str(kind))
        match reply:
            case Forward():
                return question, None
            case Unknown():
                answer = question.reply(ra=1, aa=0)
                answer.header.rcode = RCODE.NXDOMAIN
                return question, answer
            case Answer(addresses, ttl):
                answer = question.reply(ra=1, aa=0)
                shuffled = self._chance.sample(addresses, len(addresses))
                for address in shuffled:
                    data_of = AAAA(address) if ":" in address else A(address)
                    answer.add_answer(RR(name, asked.qtype, rdata=data_of, ttl=ttl))
                return question, answer

    async def _forward(self, data: bytes, question: DNSRecord, way: Way) -> bytes:
        """What the machine's resolvers say, asked in the way in which this was; a failure if none answers."""
        answered = await self._resolvers.ask(data, way)
        return answered if answered is not None else _refusal(question, RCODE.SERVFAIL)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Questions by TCP, one after the other."""
        try:
            async with asyncio.timeout(10.0):
                while length := int.from_bytes(await reader.readexactly(2), "big"):
                    data = await reader.readexactly(length)
                    found = self.answer(data, writer.get_extra_info("peername")[0])
                    if found is None:
                        return
                    question, answer = found
                    packed = answer.pack() if answer is not None else await self._forward(data, question, "tcp")
                    writer.write(len(packed).to_bytes(2, "big") + packed)
                    await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: _Server) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self._transport is not None:
            self._server.take(data, addr, self._transport)


def _refusal(question: DNSRecord, code: int) -> bytes:
    answer = question.reply(ra=1, aa=0)
    answer.header.rcode = code
    packed: bytes = answer.pack()
    return packed


def _fitted(question: DNSRecord, answer: DNSRecord) -> bytes:
    """Its bytes, cut (with the sign that more is to be had by TCP) where they are too many."""
    packed: bytes = answer.pack()
    takes = max((record.rclass for record in question.ar if record.rtype == QTYPE.OPT), default=PLAIN)
    if len(packed) <= max(PLAIN, min(takes, 1232)):
        return packed
    cut: bytes = answer.truncate().pack()
    return cut
