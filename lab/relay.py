"""The operator's way in: listens on loopback of the host, connects inside the lab.

The listening sockets were made on the host and handed down as descriptors, so this process, which lives in the
switch's namespaces, needs no right to enter any other. Run: python relay.py FD=HOST:PORT ...
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys

CHUNK = 256 * 1024


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the end or an error of either side, then close the writing side."""
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        with contextlib.suppress(OSError, RuntimeError):
            writer.close()


async def serve(descriptor: int, host: str, port: int) -> None:
    """Pass every connection on, for ever."""

    async def passed_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(3):
                far_reader, far_writer = await asyncio.open_connection(host, port)
        except (OSError, TimeoutError):
            writer.close()
            return
        async with asyncio.TaskGroup() as both:
            both.create_task(pump(reader, far_writer))
            both.create_task(pump(far_reader, writer))

    server = await asyncio.start_server(passed_on, sock=socket.socket(fileno=descriptor))
    async with server:
        await server.serve_forever()


async def main() -> None:
    """All that the command line names."""
    async with asyncio.TaskGroup() as group:
        for argument in sys.argv[1:]:
            descriptor, _, target = argument.partition("=")
            host, _, port = target.partition(":")
            group.create_task(serve(int(descriptor), host, int(port)))


if __name__ == "__main__":
    asyncio.run(main())
