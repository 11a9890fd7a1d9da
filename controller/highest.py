"""What a controller remembers over its own end: the highest (generation, sequence) of the store that it has seen.

A controller does not stand for election on a store that ends below it: such a store lost what was acknowledged.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Protocol

import structlog

from schemas.errors import BadMessage
from schemas.wire import Count, Wire, decode, encode

log = structlog.get_logger()

FILE = "highest.json"


class Highest(Wire, frozen=True, kw_only=True):
    """The end of a store."""

    mesh_id: str = ""
    generation: Count = 0
    sequence: Count = 0

    @property
    def pair(self) -> tuple[int, int]:
        """(generation, sequence), to compare."""
        return (self.generation, self.sequence)


def refusal(remembered: Highest, store: Highest) -> str:
    """Why a store that ends like `store` may not be led by who remembers `remembered`; "": it may."""
    if not remembered.mesh_id:
        return ""
    if remembered.mesh_id != store.mesh_id:
        return f"store.foreign: this controller's data is of mesh {remembered.mesh_id}, the store of {store.mesh_id}"
    if store.pair < remembered.pair:
        return f"store.rolled_back: the store ends at {store.pair}, this controller remembers {remembered.pair}"
    return ""


class Memory(Protocol):
    """Where it is kept."""

    async def load(self) -> Highest:
        """What was kept last; an empty one if there is nothing."""
        ...

    async def keep(self, highest: Highest) -> None:
        """Keep it over a crash of this machine."""
        ...


class ForgetfulMemory:
    """Kept as long as the object is: for tests and the simulator."""

    def __init__(self, highest: Highest | None = None) -> None:
        self.highest = highest or Highest()

    async def load(self) -> Highest:
        """See `Memory`."""
        return self.highest

    async def keep(self, highest: Highest) -> None:
        """See `Memory`."""
        self.highest = highest


class FileMemory:
    """Kept in a file of the data directory, replaced as a whole."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE

    async def load(self) -> Highest:
        """See `Memory`. Raises BadMessage: the file is no such thing."""
        return await asyncio.to_thread(self._read)

    async def keep(self, highest: Highest) -> None:
        """See `Memory`. A full disk is logged and does not end the controller."""
        try:
            await asyncio.to_thread(self._write, encode(highest))
        except OSError as error:
            log.error("highest.not_kept", path=str(self._path), why=str(error))

    def _read(self) -> Highest:
        if not self._path.exists():
            return Highest()
        try:
            return decode(self._path.read_bytes(), Highest)
        except BadMessage as error:
            raise BadMessage(f"{self._path}: {error.message}", hint="remove the file if its mesh is gone") from error

    def _write(self, data: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
