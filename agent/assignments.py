"""Follows `desired.<node>`: obeys only what is higher than all it has obeyed before, and remembers it on disk.

A missing or deleted record is no decision: what was obeyed last still holds. An assignment without tasks is one:
run nothing. What can't be read, or is meant for another node, is logged and changes nothing. A provisional one (out of
a backup) is no command.

The file has room of its own on the disk, which may be full. It may still be older than what an earlier process obeyed:
a disk may refuse every write. So what comes out of it is not `confirmed` until the store has shown it, or a higher one,
to this process.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import structlog

from agent.files import Files
from agent.guards import sleep_unless
from bus.logs import Waiting
from bus.port import Entry, Gap, Store
from schemas import subjects
from schemas.assignment import Applied, Assignment
from schemas.errors import BadMessage, MeshError
from schemas.wire import Count, Wire, decode, encode

FILE = "assignment"
"""Kept in reserved room."""
OLD_FILE = "assignment.json"
"""Where earlier versions of the agent kept it; removed once it stands in reserved room."""
FETCH_EVERY = (15.0, 30.0)
"""Seconds between two fetches while nothing asks for one earlier (drawn evenly)."""
RETRY = (0.5, 1.5)
UNCONFIRMED = (2.0, 4.0)
"""Seconds to the next fetch while what is held is not confirmed: a replica may only have been behind."""

log = structlog.get_logger()


class HeldAssignment(Wire, frozen=True, kw_only=True):
    """The content of the file: what is obeyed, and the sequence of its record."""

    sequence: Count
    assignment: Assignment

    @property
    def applied(self) -> Applied:
        """What it is identified by."""
        return Applied(generation=self.assignment.generation, sequence=self.sequence)


def is_higher(new: HeldAssignment, held: HeldAssignment | None) -> bool:
    """Whether `new` supersedes what is held: lower or equal is replica lag."""
    return held is None or new.applied.pair > held.applied.pair


class Assignments:
    """The assignment of one node, as far as this agent has come."""

    def __init__(
        self, node: str, store: Store, files: Files, chance: random.Random, *, may_obey: Callable[[], bool]
    ) -> None:
        self._node = node
        self._key = subjects.desired_key(node)
        self._store = store
        self._files = files
        self._chance = chance
        self._may_obey = may_obey
        self._ask = asyncio.Event()
        self._unsaved = False
        self._old_file = False
        self._waiting = Waiting(log, "assignment.not_fetched")
        self.held: HeldAssignment | None = None
        self.confirmed = False
        """Whether this process has seen the store hold what is held: the file alone may be older than what runs."""
        self.listeners: list[Callable[[], None]] = []
        self.gap_listeners: list[Callable[[], None]] = []

    @property
    def applied(self) -> Applied:
        """What is obeyed now."""
        return self.held.applied if self.held else Applied()

    async def load(self) -> None:
        """Take over what an earlier process obeyed last."""
        for name, read in ((FILE, self._files.read_reserved), (OLD_FILE, self._files.read)):
            try:
                if data := await read(name):
                    found = decode(data, HeldAssignment)
                    self.held = found if is_higher(found, self.held) else self.held
                    self._old_file |= name == OLD_FILE
            except (OSError, BadMessage) as error:
                log.error("assignment.not_read", file=name, error=str(error))
        self._unsaved = self._old_file and self.held is not None

    def fetch(self) -> None:
        """Somebody says that there is a newer one."""
        self._ask.set()

    async def run(self) -> None:
        """Listen for ever, and fetch at once, after each gap and every now and then."""
        async with self._store.watch(self._key) as watch, asyncio.TaskGroup() as group:
            group.create_task(self._keep_fetching())
            async for item in watch:
                match item:
                    case Gap(why=why):
                        log.info("assignment.gap", why=why)
                        self.fetch()
                        for listener in self.gap_listeners:
                            listener()
                    case Entry():
                        await self.offer(item)

    async def _keep_fetching(self) -> None:
        while True:
            self._ask.clear()
            pause = self._chance.uniform(*FETCH_EVERY)
            try:
                entry = await self._store.read_near(self._key)
                if entry is not None:
                    await self.offer(entry)
                self._waiting.over()
                pause = self._chance.uniform(*UNCONFIRMED) if self.held and not self.confirmed else pause
            except MeshError as error:
                self._waiting.tell(str(error))
                pause = self._chance.uniform(*RETRY)
            if self._unsaved and self.held is not None:
                await self._save(self.held)
                pause = self._chance.uniform(*RETRY)
            await sleep_unless(self._ask, pause)

    async def offer(self, entry: Entry) -> bool:
        """Obey the record if it is higher than what is held; whether it was."""
        if entry.value is None or not self._may_obey():
            return False
        try:
            new = HeldAssignment(sequence=entry.sequence, assignment=decode(entry.value, Assignment))
        except BadMessage as error:
            log.error("assignment.not_understood", sequence=entry.sequence, error=str(error))
            return False
        if new.assignment.node != self._node:
            log.error("assignment.of_another_node", sequence=entry.sequence, node=new.assignment.node)
            return False
        if new.assignment.provisional:
            return False
        if not is_higher(new, self.held):
            if new.applied.pair == self.applied.pair:
                self._confirm()
            return False
        self.held, self.confirmed = new, True
        await self._save(new)
        if self._unsaved:
            self.fetch()
        log.info(
            "assignment.obeyed",
            generation=new.assignment.generation,
            sequence=new.sequence,
            epoch=new.assignment.epoch,
            tasks=len(new.assignment.tasks),
        )
        for listener in self.listeners:
            listener()
        return True

    def _confirm(self) -> None:
        """The store holds what the file says: what that does not name is to end."""
        if self.confirmed:
            return
        self.confirmed = True
        log.info("assignment.confirmed", generation=self.applied.generation, sequence=self.applied.sequence)
        for listener in self.listeners:
            listener()

    async def _save(self, held: HeldAssignment) -> None:
        """Again and again where it can't be: a new process would obey the file, and end what is not in that."""
        try:
            await self._files.write_reserved(FILE, encode(held))
            if self._old_file:
                await self._files.remove(OLD_FILE)
                self._old_file = False
        except OSError as error:
            if not self._unsaved:
                log.error("assignment.not_saved", error=str(error), sequence=held.sequence)
            self._unsaved = True
        else:
            self._unsaved = held is not self.held  # a newer one came meanwhile
