"""A watch of less than everything over a line that comes back: its Gap goes before what the new connection brings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from nats.aio.msg import Msg

from bus.nats_line import Line
from bus.nats_listening import Listener
from bus.nats_watch import NatsWatch
from bus.nats_wire import SEQUENCE, SUBJECT
from bus.port import Entry, Gap, StoreInfo


class Wires:
    """As much of a line as a watch uses."""

    def __init__(self) -> None:
        self.up = asyncio.Event()
        self.listener: Listener | None = None
        self.hooks: list[Callable[[], None]] = []

    async def listen(self, listener: Listener) -> None:
        self.listener = listener

    async def unlisten(self, listener: Listener) -> None:
        self.listener = None

    def on_connect(self, hook: Callable[[], None]) -> None:
        self.hooks.append(hook)

    def off_connect(self, hook: Callable[[], None]) -> None:
        self.hooks.remove(hook)

    async def bring(self, sequence: int) -> None:
        headers = {SUBJECT: "$KV.mesh_state.endpoints.n.web", SEQUENCE: str(sequence)}
        message = Msg(_client=cast("Any", None), subject="x", data=b"{}", headers=headers)
        assert self.listener is not None
        self.listener.deliver(message)


async def no_info() -> StoreInfo:
    raise AssertionError("an agent's watch asks for nothing")


async def test_what_comes_over_a_new_connection_comes_after_its_gap() -> None:
    line = Wires()
    line.up.set()
    async with NatsWatch(cast("Line", line), "mesh.state.", "$KV.mesh_state.", "endpoints.n.>", no_info) as watch:
        await line.bring(3)
        line.up.clear()  # the connection is lost; entry 4 is stored meanwhile
        await line.bring(5)  # subscribed anew, not quite up yet
        line.up.set()
        for hook in line.hooks:
            hook()
        found = [await watch.next() for _ in range(4)]
    kinds = [each.sequence if isinstance(each, Entry) else "gap" for each in found]
    assert kinds == [3, "gap", 5, "gap"]
    assert isinstance(found[1], Gap)
