"""After a restore: nodes that were silent then have a provisional assignment, out of the backup. When such a node is
heard, its agent is asked what it obeys, and that becomes its assignment: nothing there is stopped, and what was started
elsewhere meanwhile is sorted out as after any node's return. Until then the node is left alone (`controller.nodes`).
What it tells takes nothing from other nodes (`controller.hearsay`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import structlog

from bus.commits import Put
from bus.port import Bus
from controller.hearing import Hearing
from controller.hearsay import weigh
from controller.mirror import Mirror
from controller.nodes import to_readopt
from controller.storing import Storing
from controller.world import Stored, World
from schemas import subjects
from schemas.assignment import Assignment
from schemas.errors import MeshError
from schemas.nodeapi import AssignmentView, ReadAssignment
from schemas.replies import open_reply
from schemas.wire import encode

EVERY = 0.5
TIMEOUT = 2.0

log = structlog.get_logger()


class Readopter:
    """Asks for what agents hold, while this controller leads."""

    def __init__(
        self,
        bus: Bus,
        mirror: Mirror,
        hearing: Hearing,
        storing: Storing,
        world: Callable[[], World],
    ) -> None:
        self._bus = bus
        self._mirror = mirror
        self._hearing = hearing
        self._storing = storing
        self._world = world
        self._said: dict[str, str] = {}
        """Node -> the last that was logged of it."""

    async def run(self) -> None:
        """Look now and then, for ever. Raises `controller.elector.Fenced`."""
        while True:
            await asyncio.sleep(EVERY)
            if not self._doubtful:
                await self._look()

    @property
    def _doubtful(self) -> bool:
        """Whether the store is not to be trusted now."""
        trouble = self._mirror.trouble or self._hearing.suspicion.rolled_back
        return bool(trouble or self._mirror.state.extent.went_back)

    async def _look(self) -> None:
        records = self._mirror.records
        generation = records.mesh.generation if records.mesh else 1
        for node in sorted(records.nodes):
            applied = self._hearing.applied(node)
            stored = records.assignments.get(node)
            if applied is not None and to_readopt(stored.record if stored else None, applied[0], generation):
                await self._ask(node, stored, generation)

    async def _ask(self, node: str, stored: Stored[Assignment] | None, generation: int) -> None:
        try:
            request = encode(ReadAssignment(observe=True))
            data = await self._bus.core.request(subjects.node_request(node, "assignment"), request, timeout=TIMEOUT)
            view = open_reply(data, AssignmentView)
        except MeshError as error:
            log.info("assignment.not_told", node=node, why=error.message)
            return
        async with self._storing.turn:  # what a round has decided and not stored yet is not in the mirror
            if self._doubtful:  # it may have become so while the round was waited for; the agent is asked again
                return
            member = self._mirror.records.nodes.get(node)
            if member is not None and member.record.instance == view.instance:
                await self._adopt(node, stored, view, generation)

    async def _adopt(self, node: str, stored: Stored[Assignment] | None, view: AssignmentView, generation: int) -> None:
        world = self._world()
        provisional = stored.record if stored else Assignment(node=node, epoch=world.epoch)
        word = weigh(world, provisional, view.assignment)
        if why := word.refused or word.waits:
            self._say(node, f"{why}: the node is left alone")
            return
        record = readopted(provisional, word.held, generation, world.epoch)
        expected = stored.sequence if stored else None
        try:
            outcome = await self._storing.store([Put(subjects.desired_key(node), encode(record), expected)])
        except ValueError as error:  # it is too large
            log.warning("assignment.not_readopted", node=node, why=str(error))
            return
        self._said.pop(node, None)
        log.info("assignment.readopted", node=node, tasks=len(record.tasks), outcome=type(outcome).__name__)
        if not self._hearing.suspicion.proven:
            await self._storing.settle(outcome)

    def _say(self, node: str, why: str) -> None:
        if self._said.get(node) != why:
            self._said[node] = why
            log.warning("assignment.not_readopted", node=node, why=why)


def readopted(provisional: Assignment, held: Assignment | None, generation: int, epoch: int) -> Assignment:
    """What a node is assigned after a restore: what its agent holds; the backup's word, if that holds nothing."""
    base = held if held is not None and held.node == provisional.node else provisional
    return msgspec.structs.replace(base, generation=generation, epoch=epoch, provisional=False)
