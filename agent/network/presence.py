"""Who is really there: the leader's records, less what this node knows better. The first half is pure.

A task of this node that has ended is out of this node's rules at once; one that this agent started in its place while
no leader answers comes in. While nobody can decide (no leader, or one that can't write) tasks of other nodes are tried:
who did not answer twice in a row is left out until it does, but never all of a service. The leader's word ends that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Set

import msgspec
import structlog

from agent.guards import guarded
from agent.local import LocalTask
from agent.network.model import View
from agent.network.port import Machine
from schemas.network import Backend, EndpointsRecord

TRY_EVERY = 1.0
"""Seconds between two attempts at each backend."""
MISSES = 2
"""Attempts in a row that brought nothing."""
UNUSED = 9
"""The port that is tried where none is known (RFC 863): a living container refuses, a dead one is silent."""
AT_ONCE = 32
MOST = 512
"""Backends that are tried; of more than these the records hold."""

log = structlog.get_logger()


def present(view: View, node: str, tasks: Mapping[str, LocalTask], silent: frozenset[str]) -> View:
    """The view with only those that are there. `tasks`: of `node`; `silent`: tasks elsewhere that do not answer."""
    heirs = [task for task in tasks.values() if task.predecessor and _is_up(task)]
    ended = {name for name, task in tasks.items() if not _is_up(task)}
    concerned = silent.union(ended, (task.predecessor for task in heirs))
    if not concerned:
        return view
    changed = {
        key: msgspec.structs.replace(record, backends=backends)
        for key, record in view.endpoints.items()
        if not concerned.isdisjoint([each.task for each in record.backends])
        and (backends := _present(record, node, heirs, ended, silent)) != record.backends
    }
    return msgspec.structs.replace(view, endpoints={**view.endpoints, **changed}) if changed else view


def _present(
    record: EndpointsRecord, node: str, heirs: Iterable[LocalTask], ended: Set[str], silent: Set[str]
) -> tuple[Backend, ...]:
    kept = [each for each in record.backends if each.node != node or each.task not in ended]
    named = {each.task for each in record.backends}
    come = [
        Backend(task=task.id, node=node, address=task.addresses[record.network])
        for task in heirs
        if task.predecessor in named and task.id not in named and record.network in task.addresses
    ]
    answering = [each for each in kept if each.task not in silent] + come
    return tuple(answering or kept)


def _is_up(task: LocalTask | None) -> bool:
    """One that this agent does not know (yet) is the leader's business; so is one that is about to stop."""
    return task is None or task.state == "stopping" or task.observed().up


def others(view: View, node: str) -> Iterator[tuple[Backend, frozenset[int]]]:
    """Backends on other nodes, and the TCP ports that are known to lead to them."""
    ports: dict[str, set[int]] = {}
    for port in view.publish.ports:
        if port.protocol == "tcp":
            ports.setdefault(f"{port.network}.{port.service}", set()).add(port.target)
    for key, record in sorted(view.endpoints.items()):
        yield from ((each, frozenset(ports.get(key, ()))) for each in record.backends if each.node != node)


class Presence:
    """Tries the tasks of other nodes while nobody can decide about them."""

    def __init__(self, node: str, machine: Machine, view: Callable[[], View], alone: Callable[[], bool]) -> None:
        """`alone`: whether nobody can decide now."""
        self._node = node
        self._machine = machine
        self._view = view
        self._alone = alone
        self._misses: dict[str, int] = {}
        self.silent: frozenset[str] = frozenset()
        """Tasks that do not answer."""
        self.listeners: list[Callable[[], None]] = []

    async def run(self) -> None:
        """Try for ever."""
        await guarded("presence", self._keep_trying)

    async def _keep_trying(self) -> None:
        while True:
            await asyncio.sleep(TRY_EVERY)
            misses = await self._try_all() if self._alone() else {}
            self._misses = misses if self._alone() else {}
            silent = frozenset(task for task, count in self._misses.items() if count >= MISSES)
            if silent != self.silent:
                log.warning("network.silent", out=sorted(silent - self.silent), back=sorted(self.silent - silent))
                self.silent = silent
                for listener in self.listeners:
                    listener()

    async def _try_all(self) -> dict[str, int]:
        """Task -> attempts in a row that brought nothing."""
        found: dict[str, int] = {}
        limit = asyncio.Semaphore(AT_ONCE)

        async def attempt(backend: Backend, ports: frozenset[int]) -> None:
            async with limit:
                if not await self._is_there(backend.address, ports):
                    found[backend.task] = self._misses.get(backend.task, 0) + 1

        async with asyncio.TaskGroup() as group:
            tried: set[str] = set()
            for backend, ports in others(self._view(), self._node):
                if backend.task not in tried and len(tried) < MOST:
                    tried.add(backend.task)
                    group.create_task(attempt(backend, ports))
        return found

    async def _is_there(self, address: str, ports: frozenset[int]) -> bool:
        """Whether somebody takes connections on one of the ports; where none is known: whether anybody is there."""
        for port in sorted(ports):
            if await self._machine.reach(address, port) == "open":
                return True
        return not ports and await self._machine.reach(address, UNUSED) in ("open", "refused")
