"""Backups as files: read back as written; cut off, changed, foreign or later ones are refused with a reason."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.backup import Backup, BackupHead, BadBackup, read_backup, record_of, write_backup

HEAD = BackupHead(mesh_id="m", generation=2, sequence=90, at=1.0, by="0")


def made(*values: bytes) -> bytes:
    records = tuple(record_of(f"service.s{n}", value, n, 5.0) for n, value in enumerate(values, start=1))
    return write_backup(Backup(head=HEAD, records=records))


@given(st.lists(st.binary(min_size=1), max_size=8))
@example([b"\t0", b'{"a":1} '])
def test_whatever_was_stored_is_read_back(values: list[bytes]) -> None:
    backup = read_backup(made(*values))
    assert [record.content for record in backup.records] == values
    assert (backup.head.mesh_id, backup.head.generation, backup.head.sequence) == ("m", 2, 90)


def test_a_json_record_stands_in_the_file_as_it_is() -> None:
    assert b'"value":{"name":"web","replicas":3}' in made(b'{"name":"web","replicas":3}')


@given(st.integers(0, 400))
def test_a_file_that_was_cut_off_is_refused(kept: int) -> None:
    whole = made(b'{"a":1}', b'{"b":2}')
    if kept < len(whole) - 1:
        with pytest.raises(BadBackup):
            read_backup(whole[:kept])


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_byte_is_noticed(place: int, change: int) -> None:
    whole = bytearray(made(b'{"a":1}', b'{"b":2}'))
    at = place % (len(whole) - 1)  # the last line break alone says nothing
    whole[at] ^= change
    with pytest.raises(BadBackup):
        read_backup(bytes(whole))


def test_a_later_layout_and_another_file_are_told_apart() -> None:
    with pytest.raises(BadBackup, match="no backup of a mesh"):
        read_backup(b"{}\n{}\n")
    with pytest.raises(BadBackup, match="layout 9"):
        read_backup(made().replace(b'"version":1', b'"version":9'))
    with pytest.raises(BadBackup, match="empty"):
        read_backup(b"")
