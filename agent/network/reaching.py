"""Whether something answers at an address: one attempt to connect, and what came of it."""

from __future__ import annotations

import asyncio

LIMIT = 1.0
"""Seconds that an attempt gets."""
UNUSED = 9
"""Asked where no port is known (RFC 863): a refusal comes from a living container, silence from none."""


async def is_there(address: str, ports: frozenset[int]) -> bool:
    """Whether something takes TCP connections there on one of `ports`; without any: whether it is there at all."""
    for port in sorted(ports) or [UNUSED]:
        try:
            async with asyncio.timeout(LIMIT):
                _, writer = await asyncio.open_connection(address, port)
        except ConnectionRefusedError:
            if not ports:
                return True
        except OSError:
            continue
        else:
            writer.close()
            return True
    return False
