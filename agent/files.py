"""What an agent keeps on disk, behind a port: the data directory, and its twin in memory for tests and simulation.

A write is atomic and on the disk when it returns (write to a new file, fsync, rename, fsync of the directory), so that
a power cut leaves the old or the new content, never half of one. Names are relative: "tasks.json". What must be
replaced on a full disk, too, has room of its own (`agent.reserved`).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

from agent.reserved import read_reserved, write_reserved
from schemas.errors import UsageError

T = TypeVar("T")

LOCK = "lock"
"""The file that a process holds locked while it works in the directory."""

PIECE = 256 * 1024
"""Bytes read at once from a large file."""


class Files(Protocol):
    """Named files that outlive the process. Methods raise OSError: disk full, no permission."""

    async def read(self, name: str) -> bytes | None:
        """The content; None: there is no such file."""
        ...

    async def write(self, name: str, data: bytes) -> None:
        """Replace the content, atomically and durably."""
        ...

    async def read_reserved(self, name: str) -> bytes | None:
        """The content of which `write_reserved` keeps copies; None: it was never written."""
        ...

    async def write_reserved(self, name: str, data: bytes) -> None:
        """The same as `write`, in room that earlier such writes took: on a full disk, too."""
        ...

    async def append(self, name: str, data: bytes, *, durable: bool = True) -> None:
        """Add to the end of a file, made if need be."""
        ...

    async def remove(self, name: str) -> None:
        """Delete a file; nothing happens where there is none."""
        ...

    async def names(self, prefix: str) -> tuple[str, ...]:
        """The names that begin with `prefix`, sorted."""
        ...

    def pieces(self, name: str) -> AsyncIterator[bytes]:
        """The content in pieces of bounded size."""
        ...


class DataDirectory:
    """Files in a directory of the host; one thread of its own does the blocking work."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="agent-files")
        self._lock: int | None = None

    def claim(self) -> None:
        """Keep every other process out of the directory for as long as this one lives.

        Raises:
            UsageError: another one works in it: both would take themselves for the same agent.
            OSError: the directory can't be used.
        """
        self._path.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = _private(str(self._path / LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise UsageError(
                f"another agent works in {self._path}", hint="give each agent of this machine a --data of its own"
            ) from None
        self._lock = lock

    async def read(self, name: str) -> bytes | None:
        """The content; None: there is no such file."""

        def work() -> bytes | None:
            with contextlib.suppress(FileNotFoundError):
                return (self._path / name).read_bytes()
            return None

        return await self._run(work)

    async def write(self, name: str, data: bytes) -> None:
        """Replace the content, atomically and durably."""

        def work() -> None:
            self._path.mkdir(parents=True, exist_ok=True, mode=0o700)
            new = self._path / f".{name}.new"
            with open(new, "wb", opener=_private) as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path / name)
            directory = os.open(self._path, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)

        await self._run(work)

    async def read_reserved(self, name: str) -> bytes | None:
        """The content of which `write_reserved` keeps copies; None: it was never written."""
        return await self._run(lambda: read_reserved(self._path, name))

    async def write_reserved(self, name: str, data: bytes) -> None:
        """The same as `write`, in room that earlier such writes took: on a full disk, too."""
        await self._run(lambda: write_reserved(self._path, name, data))

    async def append(self, name: str, data: bytes, *, durable: bool = True) -> None:
        """Add to the end of a file, made if need be."""

        def work() -> None:
            self._path.mkdir(parents=True, exist_ok=True, mode=0o700)
            with open(self._path / name, "ab", opener=_private) as file:
                file.write(data)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())

        await self._run(work)

    async def remove(self, name: str) -> None:
        """Delete a file; nothing happens where there is none."""
        await self._run(lambda: (self._path / name).unlink(missing_ok=True))

    async def names(self, prefix: str) -> tuple[str, ...]:
        """The names that begin with `prefix`, sorted."""

        def work() -> tuple[str, ...]:
            if not self._path.is_dir():
                return ()
            return tuple(sorted(entry.name for entry in self._path.iterdir() if entry.name.startswith(prefix)))

        return await self._run(work)

    async def pieces(self, name: str) -> AsyncIterator[bytes]:
        """The content in pieces of bounded size."""
        file = await self._run(lambda: (self._path / name).open("rb"))
        try:
            while piece := await self._run(lambda: file.read(PIECE)):
                yield piece
        finally:
            file.close()

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """End the thread, once it has done what it was asked for, and let others in."""
        self._pool.shutdown(wait=False)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _private(path: str, flags: int) -> int:
    """An opener: assignments hold what services are given, passwords among it, so nobody else may read them."""
    return os.open(path, flags, 0o600)


class MemoryFiles:
    """The same without a disk: outlives a simulated crash of the agent, since the test holds it."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}

    async def read(self, name: str) -> bytes | None:
        """The content; None: there is no such file."""
        return self.content.get(name)

    async def write(self, name: str, data: bytes) -> None:
        """Replace the content."""
        self.content[name] = data

    async def read_reserved(self, name: str) -> bytes | None:
        """The content of which `write_reserved` keeps copies; None: it was never written."""
        return self.content.get(f"{name}.0")

    async def write_reserved(self, name: str, data: bytes) -> None:
        """Replace the content."""
        self.content[f"{name}.0"] = data

    async def append(self, name: str, data: bytes, *, durable: bool = True) -> None:  # noqa: ARG002 - the port's
        """Add to the end of a file, made if need be."""
        self.content[name] = self.content.get(name, b"") + data

    async def remove(self, name: str) -> None:
        """Delete a file; nothing happens where there is none."""
        self.content.pop(name, None)

    async def names(self, prefix: str) -> tuple[str, ...]:
        """The names that begin with `prefix`, sorted."""
        return tuple(sorted(name for name in self.content if name.startswith(prefix)))

    async def pieces(self, name: str) -> AsyncIterator[bytes]:
        """The content in pieces of bounded size."""
        data = self.content[name]
        for start in range(0, len(data), PIECE):
            yield data[start : start + PIECE]
