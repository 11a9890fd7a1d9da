"""The public client: everything that meshctl does, for programs.

    async with Mesh.connect() as mesh:                 # the current context; or a name, or Credentials
        for task in (await mesh.tasks(service="web")).tasks:
            print(task.id, task.state)
        async for event in mesh.events(kinds=("task.failed",)):
            print(event.at, event.service, event.why)

Every call raises `schemas.errors`. Requests are repeated when nobody answers (a controller may just have died). A write
is repeated under the same command id, by which the controllers know what is done already, and tells them until when it
holds, by the store's clock: what reaches them later is not carried out. The client remembers the highest sequence that
its writes made, so that what it reads afterwards shows them, whichever controller serves it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import asynccontextmanager

from bus.users import Credentials
from meshctl.calls.agents import AgentCalls
from meshctl.calls.nodes import NodeCalls
from meshctl.calls.services import ServiceCalls
from meshctl.calls.stacks import StackCalls
from meshctl.eventstream import EventFilter, find_post_mortem, follow_events
from schemas.clock import Clock, SystemClock
from schemas.errors import StoreMissing
from schemas.events import Event
from schemas.postmortem import PostMortem

CONNECT_TIMEOUT = 3.0
"""Seconds until a mesh that does not answer is called unreachable."""


class Mesh(StackCalls, ServiceCalls, NodeCalls, AgentCalls):
    """A connection to a mesh. Made by `Mesh.connect`, or around any `bus.port.Bus`."""

    @staticmethod
    @asynccontextmanager
    async def connect(mesh: str | Credentials | None = None, *, clock: Clock | None = None) -> AsyncIterator[Mesh]:
        """Connect to the mesh of a context (by name; None: as meshctl chooses it) or by credentials.

        Raises:
            Unreachable: no server answers within 3 seconds, or no mesh is chosen.
            NotFound: there is no such context.
        """
        from meshctl.connection import connected

        async with connected(_credentials(mesh), clock or SystemClock(), CONNECT_TIMEOUT) as bus:
            yield Mesh(bus, clock=clock)

    def events(
        self,
        *,
        since: float | None = None,
        until: float | None = None,
        kinds: Collection[str] = (),
        service: str = "",
        node: str = "",
        cursor: str = "",
    ) -> AsyncGenerator[Event, None]:
        """Events in the log's order, each once: from `since` (seconds since 1970; None: from now on), to `until`.

        `kinds`: "task.failed", or "task" for all of a noun. `cursor` names a place kept by the server: reading goes on
        after the last event that the loop was done with, also in another process.
        """
        wanted = EventFilter(kinds=frozenset(kinds), service=service, node=node)
        return follow_events(self.bus, wanted, since=since, until=until, cursor=cursor, clock=self.clock)

    async def post_mortem(self, task: str) -> PostMortem | None:
        """How a task ended, by its full id, for as long as the event log keeps it; None: nothing is kept of it."""
        try:
            return await find_post_mortem(self.bus, task)
        except StoreMissing:
            return None


def _credentials(mesh: str | Credentials | None) -> Credentials:
    from meshctl.contexts import credentials_for, user_contexts

    if isinstance(mesh, Credentials):
        return mesh
    return credentials_for(mesh, os.environ, user_contexts())
