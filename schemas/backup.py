"""The backup of a mesh's state: one file of JSON lines, versioned and checksummed, readable with plain tools.

First line: the head (which mesh, as of which sequence). Then one record a line, by sequence. Last line: the seal, with
the number of records and the SHA-256 of all bytes before it. A file that was cut off has no seal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import msgspec

from schemas import subjects
from schemas.errors import BadMessage, MeshError
from schemas.records import MeshRecord
from schemas.wire import UNDECODABLE, Count, Seconds, Wire, decode, encode

FORMAT = "dockmesh-backup"
VERSION = 1
"""Of the layout of the file. A reader refuses a higher one."""


class BadBackup(MeshError):
    """A file that is no backup, or a damaged one."""

    code = "backup.bad"
    exit_code = 2


class BackupHead(Wire, frozen=True, kw_only=True):
    """The first line."""

    format: str = ""
    version: Count = 0
    mesh_id: str = ""
    generation: Count = 0
    sequence: Count = 0
    """The state stream's end: everything up to there is in the backup."""
    schema_level: Count = 1
    at: Seconds = 0.0
    """When it was taken, by the clock of whoever took it."""
    by: str = ""
    """The version of the program that took it."""


class BackupRecord(Wire, frozen=True, kw_only=True):
    """One key. `value` is its JSON; what is no JSON stands in `raw` (base64)."""

    key: str
    sequence: Count
    at: Seconds = 0.0
    value: msgspec.Raw = msgspec.Raw()
    raw: bytes = b""

    @property
    def content(self) -> bytes:
        """The record's bytes."""
        return self.raw or bytes(self.value)


class BackupSeal(Wire, frozen=True, kw_only=True):
    """The last line."""

    records: Count
    sha256: str


class Backup(Wire, frozen=True, kw_only=True):
    """All of a state stream as of a sequence."""

    head: BackupHead
    records: tuple[BackupRecord, ...] = ()

    @property
    def mesh(self) -> MeshRecord | None:
        """The mesh record; None: there is none, or it can't be read."""
        found = next((record for record in self.records if record.key == subjects.MESH), None)
        try:
            return decode(found.content, MeshRecord) if found is not None else None
        except BadMessage:
            return None


def record_of(key: str, value: bytes, sequence: int, at: float) -> BackupRecord:
    """A stored entry as a line of the file."""
    try:
        msgspec.json.decode(value)
        plain = value == value.strip() and b"\n" not in value and b"\r" not in value
    except UNDECODABLE:
        plain = False
    if plain:
        return BackupRecord(key=key, sequence=sequence, at=max(0.0, at), value=msgspec.Raw(value))
    return BackupRecord(key=key, sequence=sequence, at=max(0.0, at), raw=value)


def write_backup(backup: Backup) -> bytes:
    """The bytes of the file."""
    head = msgspec.structs.replace(backup.head, format=FORMAT, version=VERSION)
    body = b"".join(line + b"\n" for line in (encode(head), *map(_line, backup.records)))
    seal = BackupSeal(records=len(backup.records), sha256=hashlib.sha256(body).hexdigest())
    return body + encode(seal) + b"\n"


def _line(record: BackupRecord) -> bytes:
    if record.raw:
        line = {"key": record.key, "sequence": record.sequence, "at": record.at, "raw": record.raw}
    else:
        line = {"key": record.key, "sequence": record.sequence, "at": record.at, "value": record.value}
    return encode(line)


def read_backup(data: bytes) -> Backup:
    """The backup in the bytes of a file, checked from the first to the last line.

    Raises:
        BadBackup: not a backup, of a later version, cut off, or changed since it was written; the text says where.
    """
    lines = data.splitlines(keepends=True)
    if not lines:
        raise BadBackup("the file is empty")
    head = _head(lines[0])
    _check_seal(lines)
    records = tuple(_record(number, line) for number, line in enumerate(lines[1:-1], start=2))
    _check_order(records, head)
    return Backup(head=head, records=records)


def _head(line: bytes) -> BackupHead:
    try:
        head = decode(line, BackupHead)
    except BadMessage as error:
        raise BadBackup(f"line 1 is not the head of a backup: {error.message}") from error
    if head.format != FORMAT:
        raise BadBackup("this is no backup of a mesh", hint="meshctl backup FILE makes one")
    if head.version > VERSION:
        text = f"a backup of layout {head.version}: this program reads up to {VERSION}"
        raise BadBackup(text, hint="use a later meshctl")
    return head


def _check_seal(lines: Sequence[bytes]) -> None:
    try:
        seal = decode(lines[-1], BackupSeal)
    except BadMessage:
        raise BadBackup(f"the seal is missing: the file was cut off after line {len(lines)}") from None
    if seal.records != len(lines) - 2:
        raise BadBackup(f"the seal tells of {seal.records} records, the file has {len(lines) - 2}")
    found = hashlib.sha256(b"".join(lines[:-1])).hexdigest()
    if found != seal.sha256:
        raise BadBackup(f"the file was changed: its SHA-256 is {found[:16]}..., the seal says {seal.sha256[:16]}...")


def _record(number: int, line: bytes) -> BackupRecord:
    try:
        return decode(line, BackupRecord)
    except BadMessage as error:
        raise BadBackup(f"line {number}: {error.message}") from error


def _check_order(records: Iterable[BackupRecord], head: BackupHead) -> None:
    last, keys = 0, set[str]()
    for record in records:
        if record.sequence <= last or record.sequence > head.sequence or record.key in keys:
            raise BadBackup(f"{record.key} with sequence {record.sequence} is out of order")
        last = record.sequence
        keys.add(record.key)
