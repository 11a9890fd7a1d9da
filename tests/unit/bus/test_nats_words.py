"""The words of JetStream: what its answers mean, and that garbage means nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.nats_wire import Fault, ack_of, entry_of, error_of, event_of, info_of, rfc3339, seconds, stored_of
from bus.port import Entry
from schemas.errors import BadMessage, MeshError, Refused, StoreMissing, Unreachable

HEADERS = {
    "Nats-Subject": "$KV.mesh_state.job.a",
    "Nats-Sequence": "7",
    "Nats-Time-Stamp": "2026-11-23T07:04:12.741369759Z",
}
PREFIX = "$KV.mesh_state."


def test_a_republished_message_is_an_entry() -> None:
    assert entry_of(HEADERS, b"x", PREFIX) == Entry("job.a", b"x", 7, pytest.approx(1795417452.741369759))


@pytest.mark.parametrize("operation", ["DEL", "PURGE"])
def test_a_deleted_key_is_a_tombstone(operation: str) -> None:
    entry = entry_of(HEADERS | {"KV-Operation": operation}, b"", PREFIX)
    assert entry is not None
    assert entry.value is None


@given(st.one_of(st.none(), st.dictionaries(st.sampled_from([*HEADERS, "x"]), st.text(max_size=12))), st.binary())
def test_garbage_is_no_entry_and_no_error(headers: dict[str, str] | None, data: bytes) -> None:
    assert entry_of(headers, data, PREFIX) is None
    found = event_of(headers, data)
    assert found is None or found.sequence >= 0


@given(st.binary(max_size=60))
def test_garbage_in_place_of_an_answer_is_told_as_that(data: bytes) -> None:
    for reading in (ack_of, info_of, lambda each: stored_of(each, PREFIX)):
        try:
            reading(data)
        except (BadMessage, MeshError):
            continue


def test_a_stored_batch_is_acknowledged_with_its_size() -> None:
    assert ack_of(b'{"stream":"KV_mesh_state","seq":12,"batch":"x","count":3}') == (12, 3)
    assert ack_of(b'{"stream":"KV_mesh_state","seq":12}') == (12, 1)
    assert ack_of(b'{"error":{"code":400,"err_code":10071,"description":"wrong"}}') == Fault(400, 10071, "wrong")


def test_faults_become_errors_of_the_mesh() -> None:
    assert isinstance(error_of(Fault(404, 10059, "stream not found")), StoreMissing)
    assert isinstance(error_of(Fault(400, 10054, "too large")), Refused)
    assert isinstance(error_of(Fault(503, 10008, "not ready")), Unreachable)


@given(st.floats(0, 4_000_000_000))
def test_times_go_there_and_back(at: float) -> None:
    assert seconds(rfc3339(at)) == pytest.approx(at, abs=1e-5)


def test_what_is_no_time_is_zero() -> None:
    assert seconds("yesterday") == 0.0
