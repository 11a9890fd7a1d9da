"""Asks the machine's own resolvers what the mesh does not know, in the way in which it was asked.

By UDP an answer that is too long comes cut, with the sign that says so, and is passed on as it is: who wants all of it
asks again by TCP, and then so is the resolver. From one that does not speak TCP the cut answer is better than none.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Literal

import structlog

Way = Literal["udp", "tcp"]

CONFIGURATION = Path("/etc/resolv.conf")
PORT = 53
LIMIT = 2.0
"""Seconds that one resolver gets."""
MOST = 3
"""Resolvers that are asked, one after the other; resolv.conf(5) knows no more."""

log = structlog.get_logger()


class Resolvers:
    """Those that the machine's configuration names when they are asked."""

    def __init__(self, configuration: Path = CONFIGURATION, port: int = PORT) -> None:
        self._configuration = configuration
        self._port = port

    async def ask(self, question: bytes, way: Way) -> bytes | None:
        """The first answer; None: nobody answers."""
        for address in (await self._addresses())[:MOST]:
            for by in (_by_tcp, _by_udp) if way == "tcp" else (_by_udp,):
                try:
                    async with asyncio.timeout(LIMIT):
                        return await by(address, self._port, question)
                except (OSError, asyncio.IncompleteReadError, ValueError) as error:  # the last: it is no address
                    log.debug("dns.not_forwarded", resolver=address, way=way, error=str(error))
        return None

    async def _addresses(self) -> tuple[str, ...]:
        def work() -> tuple[str, ...]:
            try:
                lines = [line.split() for line in self._configuration.read_text(errors="replace").splitlines()]
            except OSError:
                return ()
            named = (words[1] for words in lines if len(words) > 1 and words[0] == "nameserver")
            return tuple(address for address in named if ":" not in address)

        return await asyncio.get_running_loop().run_in_executor(None, work)


class _OneAnswer(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:  # noqa: ARG002 (connected to one)
        if not self.answer.done():
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


async def _by_udp(address: str, port: int, question: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(_OneAnswer, remote_addr=(address, port))
    try:
        transport.sendto(question)
        return await protocol.answer
    finally:
        transport.close()


async def _by_tcp(address: str, port: int, question: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(address, port)
    try:
        writer.write(len(question).to_bytes(2, "big") + question)
        await writer.drain()
        return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
    finally:
        writer.close()
