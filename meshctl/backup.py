"""Taking a backup of a mesh's state, and looking into one: what it holds, and whether that fits together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from bus.port import Bus
from schemas import subjects
from schemas.backup import Backup, BackupHead, BackupRecord, record_of
from schemas.clock import Clock
from schemas.errors import BadMessage, StoreMissing
from schemas.kinds import kind_of
from schemas.records import ServiceRecord, StackRecord
from schemas.version import VERSION
from schemas.wire import Wire, decode


@dataclass(frozen=True)
class Checked:
    """What a backup holds, and what is wrong with it."""

    counts: Mapping[str, int]
    """First token of the keys -> how many."""
    problems: tuple[str, ...]


async def take_backup(bus: Bus, clock: Clock) -> Backup:
    """All of the state stream now, complete as of a sequence that its leader confirmed.

    Raises:
        StoreMissing: there is no state stream, or it has no mesh record.
        Unreachable: no snapshot is to be had now.
    """
    snapshot = await bus.state.snapshot()
    ordered = sorted(snapshot.entries, key=lambda entry: entry.sequence)
    records = tuple(
        record_of(entry.key, entry.value, entry.sequence, entry.at) for entry in ordered if entry.value is not None
    )
    backup = Backup(head=BackupHead(), records=records)
    mesh = backup.mesh
    if mesh is None:
        raise StoreMissing("the state stream holds no mesh record: there is nothing to back up")
    head = BackupHead(
        mesh_id=mesh.mesh_id,
        generation=mesh.generation,
        sequence=snapshot.sequence,
        schema_level=mesh.schema_level,
        at=max(0.0, clock.wall()),
        by=VERSION,
    )
    return Backup(head=head, records=records)


def check_backup(backup: Backup) -> Checked:
    """Whether each record can be read, and finds what it names. The file itself was checked when it was read."""
    counts = Counter(record.key.partition(".")[0] for record in backup.records)
    problems: list[str] = []
    mesh = backup.mesh
    if mesh is None:
        problems.append("it holds no readable mesh record")
    elif (mesh.mesh_id, mesh.generation) != (backup.head.mesh_id, backup.head.generation):
        problems.append(f"its head tells of mesh {backup.head.mesh_id}, its mesh record of {mesh.mesh_id}")
    keys = {record.key for record in backup.records}
    for record in backup.records:
        problems += _problems(record, keys)
    return Checked(dict(sorted(counts.items())), tuple(problems))


def _problems(record: BackupRecord, keys: set[str]) -> list[str]:
    try:
        value = decoded(record)
    except BadMessage as error:
        return [f"{record.key}: {error.message}"]
    match value:
        case ServiceRecord(name=name, target=target, removed=False) if subjects.revision_key(name, target) not in keys:
            return [f"{record.key}: its revision {target} is not there"]
        case StackRecord(services=services, removed=False):
            missing = [name for name in sorted(services) if subjects.service_key(name) not in keys]
            return [f"{record.key}: its service {name} is not there" for name in missing]
        case _:
            return []


def decoded(record: BackupRecord) -> Wire | None:
    """The record, if its key is known here; others are kept as they are. Raises BadMessage."""
    kind = kind_of(record.key)
    return decode(record.content, kind) if kind is not None else None


INTENT = ("service", "revision", "stack", "node", "order", "network", "config", "secret")
"""First tokens of the keys that people's wishes stand in: lost, they would be lost for good."""


def written_meanwhile(before: Backup | None, now: Backup | None) -> tuple[str, ...]:
    """The keys of people's wishes that were written or deleted between two looks at the store, sorted. Pure."""
    was, is_ = (_wishes(backup) for backup in (before, now))
    return tuple(sorted(key for key in was.keys() | is_.keys() if was.get(key) != is_.get(key)))


def _wishes(backup: Backup | None) -> dict[str, bytes]:
    records = backup.records if backup is not None else ()
    return {record.key: record.content for record in records if record.key.partition(".")[0] in INTENT}
