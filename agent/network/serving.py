"""Name servers: one at each bridge's own address, begun and ended as bridges come and go."""

from __future__ import annotations

import asyncio
from collections.abc import Set

import structlog

from agent.guards import sleep_unless
from agent.network.port import Machine, Resolve

RETRY = 1.0

log = structlog.get_logger()


class NameServers:
    """All of this node's."""

    def __init__(self, machine: Machine, resolve: Resolve) -> None:
        self._machine = machine
        self._resolve = resolve
        self._wanted: frozenset[str] = frozenset()
        self._changed = asyncio.Event()
        self._stops: dict[str, asyncio.Event] = {}
        self.troubles: dict[str, str] = {}
        """Address -> why names are not answered there."""

    def on(self, addresses: Set[str]) -> None:
        """Names are answered on these addresses and no others."""
        if addresses != self._wanted:
            self._wanted = frozenset(addresses)
            self._changed.set()

    async def run(self) -> None:
        """Serve for ever, anew if it has failed before."""
        self._stops.clear()
        async with asyncio.TaskGroup() as group:
            while True:
                for address in self._stops.keys() - self._wanted:
                    self._stops.pop(address).set()
                    self.troubles.pop(address, None)
                for address in sorted(self._wanted - self._stops.keys()):
                    stop = self._stops[address] = asyncio.Event()
                    group.create_task(self._keep_serving(address, stop), name=f"names {address}")
                await self._changed.wait()
                self._changed.clear()

    async def _keep_serving(self, address: str, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                async with self._machine.serve_names(address, self._resolve):
                    self.troubles.pop(address, None)
                    await stop.wait()
            except OSError as error:
                self.troubles[address] = f"names are not answered on {address}: {error.strerror or error}"
                log.warning("names.not_served", address=address, error=str(error))
                await sleep_unless(stop, RETRY)
            except Exception as error:
                if (task := asyncio.current_task()) is not None and task.cancelling():
                    raise  # a group that fails while it is cancelled tells only of the failure
                self.troubles[address] = f"names are not answered on {address}: {error}"
                log.exception("names.failed", address=address)
                await sleep_unless(stop, RETRY)
