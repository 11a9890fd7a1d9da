"""Serves `mesh.node.<node>.<verb>`: several at once, each in a task of its own, every one answered, garbage too.

An agent that is refused as a member stays silent: the name belongs to another one, who answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import structlog

from agent.guards import guarded
from bus.port import Core, Message
from schemas import subjects
from schemas.errors import Internal, MeshError, NotFound
from schemas.nodeapi import NODE_REQUESTS
from schemas.replies import reply_error, reply_with
from schemas.wire import Wire, decode

AT_ONCE = 64
"""Requests that are being answered at the same time."""

Handler: TypeAlias = Callable[[Any], Awaitable[Wire]]

log = structlog.get_logger()


class Requests:
    """The desk where a node's requests are answered."""

    def __init__(
        self, node: str, core: Core, handlers: Mapping[str, Handler], *, may_serve: Callable[[], bool] = lambda: True
    ) -> None:
        self._node = node
        self._core = core
        self._handlers = dict(handlers)
        self._may_serve = may_serve
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Serve for ever."""
        async with asyncio.TaskGroup() as group:
            for verb in sorted(self._handlers):
                group.create_task(guarded(f"requests-{verb}", lambda verb=verb: self._serve(verb, group)))  # type: ignore[misc]

    async def _serve(self, verb: str, group: asyncio.TaskGroup) -> None:
        async with self._core.subscribe(subjects.node_request(self._node, verb)) as messages:
            async for message in messages:
                if not self._may_serve():
                    continue
                await self._slots.acquire()
                group.create_task(self._answer(verb, message))

    async def _answer(self, verb: str, message: Message) -> None:
        try:
            data = await self._reply(verb, message)
            await self._core.respond(message, data)
        except MeshError as error:
            log.info("request.not_answered", verb=verb, error=str(error))
        finally:
            self._slots.release()

    async def _reply(self, verb: str, message: Message) -> bytes:
        try:
            if verb not in NODE_REQUESTS:
                raise NotFound(f"no such request: {verb}")
            request = decode(message.data, NODE_REQUESTS[verb][0])
            return reply_with(await self._handlers[verb](request))
        except MeshError as error:
            return reply_error(error)
        except Exception as error:
            log.exception("request.failed", verb=verb)
            return reply_error(Internal(f"{verb} on {self._node}: {error}"))
