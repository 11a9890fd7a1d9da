"""Readiness checks against real sockets: what answers, what does not, and what only seems to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from agent.engine.probing import probe
from schemas.spec import ReadyCheck

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def says(answer: bytes, asked: list[bytes] | None = None) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        if asked is not None:
            asked.append(line)
        writer.write(answer)
        writer.close()

    return serve


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def ask(serve: Serve, **check: object) -> str:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        return await probe("127.0.0.1", ReadyCheck(port=port, timeout=0.3, **check))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nfine", ""),
        (b"HTTP/1.0 301 Moved\r\n\r\n", ""),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "status 503"),
        (b"HTTP/1.1 404\r\n", "status 404"),
        (b"SSH-2.0-OpenSSH\r\n", "no answer that is HTTP"),
        (b"", "no answer that is HTTP"),
        (b"x" * 5000, "no answer that is HTTP"),
        (b"HTTP/1.1 \xb2\xb0\xb0 OK\r\n", "no answer that is HTTP"),
    ],
)
async def test_http_is_ready_with_an_answer_from_200_to_399(answer: bytes, said: str) -> None:
    assert await ask(says(answer), kind="http") == said


async def test_the_path_is_asked_for_as_it_is_written() -> None:
    asked: list[bytes] = []
    await ask(says(b"HTTP/1.1 200 OK\r\n\r\n", asked), kind="http", path="/health?x=1")
    assert asked == [b"GET /health?x=1 HTTP/1.1\r\n"]


async def test_who_takes_a_connection_and_says_nothing_is_ready_for_tcp_alone() -> None:
    assert await ask(silence) == ""
    assert await ask(silence, kind="http") == "no answer within 0.3 s"


async def test_a_closed_port_is_told_as_such() -> None:
    server = await asyncio.start_server(silence, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    assert "refused" in await probe("127.0.0.1", ReadyCheck(port=port, timeout=1.0))


async def test_no_address_is_no_answer() -> None:
    assert await probe("", ReadyCheck(port=1, timeout=0.2)) != ""
