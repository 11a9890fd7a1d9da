"""What others change on this machine: links, addresses and routes as the kernel tells them, rules by their generation.

Rules are not listened to: for a listener the kernel would write out each of 100,000 elements that this agent loads.
Instead the generation is asked for each second, and what this process changes itself is told by `ours`.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from agent.network.messages import attributes, messages, text
from agent.network.port import Changed
from agent.network.ruleset import Ruleset
from schemas.errors import EngineError

ASK_EVERY = 1.0
"""Seconds between two looks at the ruleset's generation."""
PASSING = ("veth", "lo")
"""Links of containers come and go with them, which is looked at anyhow."""
LINKS, ADDRESSES, ROUTES = 0x1, 0x10, 0x40
LINK_MESSAGES, ADDRESS_MESSAGES, ROUTE_MESSAGES = (16, 17), (20, 21), (24, 25)
LINK_INFO, NAME = 16, 3
"""Bytes of ifinfomsg before the attributes; the attribute with the name."""


class Monitor:
    """Tells what has changed by others."""

    def __init__(self, ruleset: Ruleset) -> None:
        self._ruleset = ruleset
        self._known: int | None = None
        """The generation up to which all is known; None: nobody wants to know."""
        self._changing = 0

    @contextmanager
    def ours(self) -> Iterator[None]:
        """What changes in the rules meanwhile is this process's own doing."""
        self._changing += 1
        try:
            yield
        finally:
            self._changing -= 1
            self._known = self._ruleset.generation() if self._known is not None else None

    async def run(self, changed: Callable[[Changed], None]) -> None:
        """Tell of changes for ever. Raises EngineError in a group: the kernel does not tell."""
        with closing(_opened()) as links:
            async with asyncio.TaskGroup() as group:
                group.create_task(_listen(links, changed))
                group.create_task(self._keep_asking(changed))

    async def _keep_asking(self, changed: Callable[[Changed], None]) -> None:
        while True:
            if not self._changing:
                before, self._known = self._known, self._ruleset.generation()
                if before is not None and before != self._known:
                    changed("rules")
            await asyncio.sleep(ASK_EVERY)


def _opened() -> socket.socket:
    try:
        opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        opened.setblocking(False)
        opened.bind((0, LINKS | ADDRESSES | ROUTES))
    except OSError as error:
        raise EngineError(f"netlink: {error.strerror}") from error
    return opened


async def _listen(links: socket.socket, changed: Callable[[Changed], None]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        try:
            told = changes_in(await loop.sock_recv(links, 1 << 16))
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise EngineError(f"netlink: {error.strerror}") from error
            told = {"links", "addresses"}  # some were lost: it may be anything
        for what in sorted(told):
            changed(what)


def changes_in(data: bytes) -> set[Changed]:
    """What messages of the kernel tell. Pure."""
    found: set[Changed] = set()
    for kind, body in messages(data):
        if kind in ADDRESS_MESSAGES:
            found |= {"addresses", "links"}
        elif kind in ROUTE_MESSAGES or (kind in LINK_MESSAGES and not _passing(body)):
            found.add("links")
    return found


def _passing(body: bytes) -> bool:
    return text(attributes(body, LINK_INFO).get(NAME, b"")).startswith(PASSING)
