"""x-mesh.ready and x-mesh.rollout as people get them wrong."""

from __future__ import annotations

import pytest

from schemas.errors import ManifestError
from tests.unit.compose.reading import load


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("x-mesh: {ready: {interval: 1s}}", "a check is either `http` or `tcp`"),
        ("x-mesh: {ready: {http: ':80', tcp: 80}}", "a check is either `http` or `tcp`"),
        ("x-mesh: {ready: {http: 'http://localhost:80/'}}", "is no port of the container"),
        ("x-mesh: {ready: {http: ':80/a b'}}", "is no port of the container"),
        ("x-mesh: {ready: {tcp: 70000}}", "is no port of the container"),
        ("x-mesh: {ready: {tcp: 80, retries: 0}}", "0 is out of range"),
        ("network_mode: none\n    x-mesh: {ready: {tcp: 80}}", "can't be asked"),
        ("x-mesh: {rollout: {max_unavailable: 101%}}", "is no number and no share"),
        ("x-mesh: {rollout: {max_unavailable: -1}}", "is no number and no share"),
        ("x-mesh: {rollout: {max_unavailable: 0}}", "order: start-first"),
    ],
)
def test_what_can_not_be_meant_is_refused_with_a_way_out(lines: str, said: str) -> None:
    with pytest.raises(ManifestError) as caught:
        load(f"services:\n  web:\n    image: web:1\n    {lines}\n")
    assert said in str(caught.value)
