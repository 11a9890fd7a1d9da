"""Asks a container whether it is ready, from outside: no tool in its image is needed."""

from __future__ import annotations

import asyncio
import contextlib
import os

from schemas.spec import ReadyCheck

_LONGEST_LINE = 1024


async def probe(address: str, check: ReadyCheck) -> str:
    """ "" if `address` answers as the check wants, else why not, in a few words. Never raises."""
    writer = None
    try:
        async with asyncio.timeout(check.timeout):
            reader, writer = await asyncio.open_connection(address, check.port, limit=_LONGEST_LINE)
            return await _ask(reader, writer, address, check) if check.kind == "http" else ""
    except TimeoutError:
        return f"no answer within {check.timeout:g} s"
    except OSError as error:
        return os.strerror(error.errno).lower() if error.errno else "no connection"
    except ValueError:
        return "no answer that is HTTP"
    finally:
        if writer is not None:
            with contextlib.suppress(OSError):
                writer.close()


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str, check: ReadyCheck) -> str:
    request = f"GET {check.path} HTTP/1.1\r\nHost: {address}:{check.port}\r\nUser-Agent: dockmesh\r\n"
    writer.write(f"{request}Accept: */*\r\nConnection: close\r\n\r\n".encode())
    await writer.drain()
    line = (await reader.readline()).split()
    if len(line) < 2 or not line[0].startswith(b"HTTP/") or not line[1].isdigit():
        return "no answer that is HTTP"
    return "" if 200 <= int(line[1]) < 400 else f"status {int(line[1])}"
