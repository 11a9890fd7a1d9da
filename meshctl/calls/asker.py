"""Any request to the controllers or to a node's agent, and its answer."""

from __future__ import annotations

from typing import TypeVar

from msgspec.structs import replace

from bus.port import Bus
from meshctl import asking
from meshctl.asking import NODE_TIMEOUT, WRITE_TIMEOUT
from schemas import subjects
from schemas.api import REQUESTS
from schemas.clock import Clock, SystemClock
from schemas.errors import BadMessage, Unreachable, error_of
from schemas.nodeapi import NODE_REQUESTS
from schemas.rebalanceapi import RebalanceOrdered
from schemas.refreshapi import RefreshAnswer
from schemas.replies import Reply
from schemas.requests import Ask, Command, Written
from schemas.serviceapi import DeployAnswer
from schemas.wire import Wire, decode, encode

A = TypeVar("A", bound=Wire)

WRITTEN = (Written, DeployAnswer, RefreshAnswer, RebalanceOrdered)
"""Answers that hold the sequence of a write."""


class Asker:
    """Sends requests over a bus; what it reads shows what it wrote before, whichever controller serves it."""

    def __init__(self, bus: Bus, *, clock: Clock | None = None) -> None:
        self.bus = bus
        self.clock: Clock = clock or SystemClock()
        self.min_sequence = 0
        """The highest sequence that a write of this client made."""

    async def ask(self, name: str, request: Wire, *, timeout: float | None = None) -> Wire:
        """Send `request` as `name` ("service.list", a key of `schemas.REQUESTS`); its answer.

        Raises whatever error the answer carries, or Unreachable.
        """
        _, answer_kind = REQUESTS[name]
        subject = subjects.api(*name.split("."))
        if isinstance(request, Command):
            data = await asking.write(self.bus, subject, request, timeout or WRITE_TIMEOUT)
        else:
            if isinstance(request, Ask):
                request = replace(request, min_sequence=max(request.min_sequence, self.min_sequence))
            data = await asking.read(self.bus, subject, encode(request), timeout or asking.READ_TIMEOUT)
        answer = _opened(name, data, answer_kind)
        if isinstance(answer, WRITTEN):
            self.min_sequence = max(self.min_sequence, answer.sequence)
        return answer

    async def ask_node(self, node: str, verb: str, request: Wire, *, timeout: float = NODE_TIMEOUT) -> Wire:
        """Send `request` to a node's agent (`verb`: a key of `schemas.NODE_REQUESTS`); its answer."""
        _, answer_kind = NODE_REQUESTS[verb]
        try:
            data = await self.bus.core.request(subjects.node_request(node, verb), encode(request), timeout=timeout)
        except Unreachable as error:
            raise Unreachable(
                f"node {node} does not answer ({verb})", hint="meshctl node ls tells whether its agent is up"
            ) from error
        return _opened(f"{node} {verb}", data, answer_kind)


def _opened(name: str, data: bytes, kind: type[A]) -> A:
    """The answer in a reply. Raises what it carries, or Internal for bytes that are no answer."""
    reply = _read(name, data, Reply)
    if reply.error is not None:
        raise error_of(reply.error.code, reply.error.message, reply.error.hint)
    return _read(name, bytes(reply.body), kind)


def _read(name: str, data: bytes, kind: type[A]) -> A:
    try:
        return decode(data, kind)
    except BadMessage as error:
        raise asking.unreadable(name, error) from error
