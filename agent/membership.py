"""Who this agent is, and whether the mesh takes it for a member.

The instance id is made once and kept; joining binds the node's name to it. While it is refused (another instance holds
the name, or the node was removed) the agent says so loudly, runs nothing new, writes nothing, and keeps what runs.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping

import structlog

from agent.files import Files
from bus.logs import Waiting
from bus.port import Core
from schemas import subjects
from schemas.errors import BadMessage, MeshError
from schemas.memberapi import Join, Joined
from schemas.observation import NodeFacts
from schemas.replies import open_reply
from schemas.wire import Wire, decode, encode

FILE = "member.json"
TIMEOUT = 2.0
RETRY_SILENT = (0.3, 1.0)
RETRY_REFUSED = (4.0, 6.0)

log = structlog.get_logger()


class Identity(Wire, frozen=True, kw_only=True):
    """The content of the file. An empty `mesh_id`: never joined."""

    instance: str
    mesh_id: str = ""


class Membership:
    """The bond between this agent and its mesh."""

    def __init__(
        self,
        node: str,
        core: Core,
        files: Files,
        chance: random.Random,
        *,
        boot: str = "",
        labels: Mapping[str, str],
        facts: Callable[[], NodeFacts],
    ) -> None:
        self._node = node
        self._core = core
        self._files = files
        self._chance = chance
        self._boot = boot
        self._labels = dict(labels)
        self._facts = facts
        self._retry = asyncio.Event()
        self._waiting = Waiting(log, "membership.no_answer")
        self.identity = Identity(instance="")
        self.confirmed = False
        """This process was told that it is a member, and not refused since."""
        self.refused = ""
        """Why not, in the mesh's words."""
        self.known = asyncio.Event()
        """Set once the mesh's id is known: from the disk, or by joining."""
        self.listeners: list[Callable[[], None]] = []

    async def load(self) -> None:
        """Find or make the identity. Raises OSError: without a data directory an agent can't be a member."""
        data = await self._files.read(FILE)
        try:
            self.identity = decode(data, Identity) if data else self._new()
        except BadMessage as error:
            log.error("identity.not_understood", error=str(error))
            self.identity = self._new()
        if data is None:
            await self._files.write(FILE, encode(self.identity))
        if self.identity.mesh_id:
            self.known.set()

    def _new(self) -> Identity:
        return Identity(instance=f"{self._chance.getrandbits(80):020x}")

    def refuse(self, why: str) -> None:
        """The mesh says no."""
        if not self.refused:
            log.error("membership.refused", node=self._node, why=why, instance=self.identity.instance)
        self._waiting.over()
        was, self.refused, self.confirmed = self.refused, why, False
        self._retry.set()
        if not was:
            self._changed()

    def _changed(self) -> None:
        for listener in self.listeners:
            listener()

    async def run(self) -> None:
        """Join, and join again whenever refused, for ever."""
        while True:
            self._retry.clear()
            if not self.confirmed:
                pause = await self._try()
                if not self.confirmed:
                    await asyncio.sleep(pause)
                    continue
            await self._retry.wait()
            await asyncio.sleep(self._chance.uniform(*RETRY_REFUSED))

    async def _try(self) -> float:
        """One attempt; the seconds until the next one, should it fail."""
        request = Join(
            node=self._node,
            instance=self.identity.instance,
            facts=self._facts(),
            labels=self._labels,
            boot=self._boot,
        )
        try:
            data = await self._core.request(subjects.agent_api(self._node, "join"), encode(request), timeout=TIMEOUT)
            joined = open_reply(data, Joined)
        except MeshError as error:
            if not error.retryable:
                self.refuse(str(error))
                return self._chance.uniform(*RETRY_REFUSED)
            self._waiting.tell(str(error))
            return self._chance.uniform(*RETRY_SILENT)
        if self.identity.mesh_id not in ("", joined.mesh_id):
            self.refuse(f"this data directory belongs to mesh {self.identity.mesh_id}, not to {joined.mesh_id}")
            return self._chance.uniform(*RETRY_REFUSED)
        self._waiting.over()
        await self._welcome(joined)
        return 0.0

    async def _welcome(self, joined: Joined) -> None:
        if not self.identity.mesh_id:
            identity = Identity(instance=self.identity.instance, mesh_id=joined.mesh_id)
            await self._files.write(FILE, encode(identity))  # first: on a full disk it is tried again
            self.identity = identity
        log.info("membership.confirmed", node=self._node, mesh=joined.mesh_id)
        self.confirmed, self.refused = True, ""
        self.known.set()
        self._changed()
