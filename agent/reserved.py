"""A content of which two copies stand in room that was taken beforehand, so that it is replaced on a full disk, too.

The newer copy is the content, and the older one is written over in place: a power cut leaves one of them whole. Each
has a header with a counter, and a digest of that and of its data. That overwriting needs no new room is true of file
systems that overwrite in place (ext4, xfs, tmpfs); others (btrfs, zfs) may refuse it on a full disk, as they may a
plain write.
Blocking: for a thread.
"""

from __future__ import annotations

import errno
import hashlib
import os
import struct
from dataclasses import dataclass
from pathlib import Path

COPIES = ("0", "1")
ROOM = 256 * 1024
"""Bytes taken for each copy at first."""
MARGIN = 2
"""How many times the present content should find room: an assignment may grow while the disk is full."""

_MAGIC = b"dockmesh"
_HEADER = struct.Struct(">8sQQ32s")


@dataclass(frozen=True)
class _Copy:
    path: Path
    counter: int = 0
    """0: it is not whole, or was never written."""
    data: bytes = b""
    begun: bool = False
    """Whether something stands in it, whole or not."""


def room_for(size: int) -> int:
    """How many bytes to take for each copy of a content of `size` bytes."""
    room = ROOM
    while room < MARGIN * size + _HEADER.size:
        room *= 2
    return room


def read_reserved(folder: Path, name: str) -> bytes | None:
    """The content; None: it was never written. Raises OSError: unreadable, or no copy of it is whole."""
    copies = _copies(folder, name)
    newest = max(copies, key=lambda copy: copy.counter)
    if newest.counter:
        return newest.data
    if any(copy.begun for copy in copies):
        raise OSError(errno.EILSEQ, "no copy of it is whole", str(folder / name))
    return None


def write_reserved(folder: Path, name: str, data: bytes) -> None:
    """Replace the content, atomically and durably. Raises OSError: no room was taken yet, or not so much."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    older, newer = sorted(_copies(folder, name), key=lambda copy: copy.counter)
    counter = newer.counter + 1
    record = _HEADER.pack(_MAGIC, counter, len(data), _digest(counter, data)) + data
    made = not all(copy.path.exists() for copy in (older, newer))
    file = _open(older.path)
    try:
        _take(file, room_for(len(data)), needed=len(record))
        _write_all(file, record)
        os.fsync(file)
    finally:
        os.close(file)
    file = _open(newer.path)
    try:
        _take(file, room_for(len(data)), needed=0)
    finally:
        os.close(file)
    if made:
        _keep_names(folder)


def _copies(folder: Path, name: str) -> tuple[_Copy, ...]:
    return tuple(_read(folder / f"{name}.{which}") for which in COPIES)


def _read(path: Path) -> _Copy:
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER.size)
            if len(header) < _HEADER.size or not any(header):
                return _Copy(path)
            magic, counter, length, digest = _HEADER.unpack(header)
            if magic != _MAGIC or length > os.fstat(file.fileno()).st_size:
                return _Copy(path, begun=True)
            data = file.read(length)
    except FileNotFoundError:
        return _Copy(path)
    if _digest(counter, data) != digest:
        return _Copy(path, begun=True)
    return _Copy(path, counter, data, begun=True)


def _digest(counter: int, data: bytes) -> bytes:
    """Of the counter, too: a header cut off half way has the new one beside the old digest."""
    return hashlib.sha256(counter.to_bytes(8, "big") + data).digest()


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _take(file: int, room: int, *, needed: int) -> None:
    """Take `room` bytes; raises OSError only where not even the `needed` ones are there."""
    there = os.fstat(file).st_size
    if there >= room:
        return
    try:
        os.posix_fallocate(file, 0, room)
    except OSError:
        if there < needed:
            raise


def _write_all(file: int, record: bytes) -> None:
    written = 0
    while written < len(record):
        written += os.pwrite(file, record[written:], written)


def _keep_names(folder: Path) -> None:
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
