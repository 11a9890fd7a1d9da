"""Attempts to reach something, and what came of each: nothing is decided here."""

from __future__ import annotations

import asyncio
import errno
import socket

from dnslib import EDNS0, DNSRecord, EDNSOption

from agent.network.port import Asked, Reach

LIMIT = 1.0
"""Seconds that an attempt gets."""
HEADERS = 28
"""Bytes of IP and UDP before a question."""
PADDING = 12
"""EDNS option that fills up (RFC 7830)."""
IP_MTU_DISCOVER, DO_NOT_FRAGMENT = 10, 2
WORLD = "192.0.2.1"
"""Nobody's (RFC 5737): the way to it is the default route."""
QUESTION = "dockmesh-doctor"


async def reach(address: str, port: int) -> Reach:
    """One attempt to connect by TCP."""
    try:
        async with asyncio.timeout(LIMIT):
            _, writer = await asyncio.open_connection(address, port)
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "silent"
    except OSError:
        return "unreachable"
    writer.close()
    return "open"


def own_address() -> str:
    """The address that packets to the world would have; "" without a way there. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect((WORLD, 9))
        except OSError:
            return ""
        return str(asked.getsockname()[0])


async def ask(address: str, size: int) -> Asked:
    """One question to the name server there, in a packet of `size` bytes that may not be cut (0: as small as it is)."""
    loop = asyncio.get_running_loop()
    try:
        transport, answer = await loop.create_datagram_endpoint(_Answer, remote_addr=(address, 53))
    except OSError:
        return "silent"
    try:
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, DO_NOT_FRAGMENT)
        transport.sendto(question(size))
        async with asyncio.timeout(LIMIT):
            await answer.answered
    except OSError as error:
        return "too large" if error.errno == errno.EMSGSIZE else "silent"
    finally:
        transport.close()
    return "answered"


def question(size: int) -> bytes:
    """A question whose packet has at least `size` bytes."""
    asked = DNSRecord.question(QUESTION)
    asked.add_ar(EDNS0(udp_len=1232))
    short = size - HEADERS - len(asked.pack()) - 4
    if short > 0:
        asked.ar[0] = EDNS0(udp_len=1232, opts=[EDNSOption(PADDING, bytes(short))])
    packed: bytes = asked.pack()
    return packed


class _Answer(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:  # noqa: ARG002 (connected to one)
        if not self.answered.done():
            self.answered.set_result(None)

    def error_received(self, exc: Exception) -> None:
        if not self.answered.done():
            self.answered.set_exception(exc)
