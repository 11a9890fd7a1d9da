"""Takes requests off the bus, hands each to its handler in a task of its own, and answers.

Nothing that comes in ends the controller: bytes that are no request get `bad_message`, a handler's unexpected error
gets `internal`, and both are logged. At most `PLACES` requests are dealt with at a time; the rest wait in the
subscription.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog

from bus.port import Message
from controller.api import (
    joining,
    networks,
    nodes,
    orders,
    planning,
    rebalancing,
    refreshing,
    revisions,
    services,
    stack_revisions,
    stacks,
    status,
    tasks,
    volumes,
)
from controller.api.desk import Desk
from schemas import subjects
from schemas.api import REQUESTS
from schemas.errors import BadMessage, Internal, MeshError, Refused
from schemas.memberapi import AGENT_REQUESTS
from schemas.replies import reply_error, reply_with
from schemas.requests import Command
from schemas.wire import decode

log = structlog.get_logger()

PLACES = 64
ANSWER_LIMIT = 3_500_000
"""Bytes of one answer: below the server's max_payload of 4 MB."""

Handler = Callable[[Desk, Any], Awaitable[object]]

HANDLERS: Mapping[str, Handler] = {
    "stack.deploy": stacks.deploy,
    "stack.remove": stacks.remove,
    "stack.list": stacks.list_all,
    "stack.plan": planning.plan_stack,
    "stack.history": stack_revisions.history,
    "stack.rollback": stack_revisions.rollback,
    "service.put": services.put,
    "service.scale": services.scale,
    "service.remove": services.remove,
    "service.history": revisions.history,
    "service.rollback": revisions.rollback,
    "service.promote": revisions.promote,
    "service.refresh": refreshing.refresh,
    "service.pause": revisions.pause,
    "service.list": services.list_all,
    "service.inspect": services.inspect,
    "task.list": tasks.list_all,
    "task.inspect": tasks.inspect,
    "node.list": nodes.list_all,
    "node.inspect": nodes.inspect,
    "node.update": nodes.update,
    "node.remove": nodes.remove,
    "volume.list": volumes.list_all,
    "network.create": networks.create,
    "network.remove": networks.remove,
    "network.list": networks.list_all,
    "network.inspect": networks.inspect,
    "status.get": status.get,
    "rebalance.plan": rebalancing.plan,
    "rebalance.apply": rebalancing.apply,
    "rebalance.stop": rebalancing.stop,
    "rebalance.get": rebalancing.get,
    "order.give": orders.give,
}

AGENT_HANDLERS: Mapping[str, Callable[[Desk, str, Any], Awaitable[object]]] = {"join": joining.join}


class Server:
    """Serves people (`mesh.api.>`) and agents (`mesh.agentapi.>`) apart, so that neither can crowd the other out."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def run(self) -> None:
        """Serve for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._serve(subjects.API_ALL, self._for_people), name="api")
            group.create_task(self._serve(subjects.AGENT_API_ALL, self._for_agents), name="agent api")

    async def _serve(self, pattern: str, handle: Callable[[Message], Awaitable[object]]) -> None:
        places = asyncio.Semaphore(PLACES)

        async def one(message: Message) -> None:
            try:
                await self._answer(message, handle)
            finally:
                places.release()

        async with (
            self._desk.bus.core.subscribe(pattern, queue=subjects.API_QUEUE) as messages,
            asyncio.TaskGroup() as group,
        ):
            async for message in messages:
                await places.acquire()
                group.create_task(one(message), name=message.subject)

    async def _answer(self, message: Message, handle: Callable[[Message], Awaitable[object]]) -> None:
        try:
            answer = reply_with(await handle(message))
            if len(answer) > ANSWER_LIMIT:
                raise Refused(f"the answer takes {len(answer):,} bytes", hint="ask for one service, stack or node")
        except MeshError as error:
            if isinstance(error, BadMessage):
                log.warning("message.refused", subject=message.subject, why=error.message)
            answer = reply_error(error)
        except Exception as error:
            log.exception("request.failed", subject=message.subject)
            answer = reply_error(Internal(f"{self._desk.name} failed: {type(error).__name__}: {error}"))
        try:
            await self._desk.bus.core.respond(message, answer)
        except MeshError as error:
            log.info("request.unanswered", subject=message.subject, why=error.message)

    async def _for_people(self, message: Message) -> object:
        name = message.subject.removeprefix("mesh.api.")
        if name not in HANDLERS:
            raise BadMessage(f"there is no request {name!r}", hint="is meshctl newer than the controllers?")
        request = decode(message.data, REQUESTS[name][0])
        until, asked = (request.until, request.command) if isinstance(request, Command) else (0.0, "")
        return await HANDLERS[name](dataclasses.replace(self._desk, until=until, asked=asked), request)

    async def _for_agents(self, message: Message) -> object:
        node, _, verb = message.subject.removeprefix("mesh.agentapi.").partition(".")
        if verb not in AGENT_HANDLERS:
            raise BadMessage(f"there is no agent's request {verb!r}")
        return await AGENT_HANDLERS[verb](self._desk, node, decode(message.data, AGENT_REQUESTS[verb][0]))
