"""A task is stopped only when no kernel sends it anything any more: also one whose agent has just died."""

from __future__ import annotations

import pytest

from controller.passing import passes_on
from schemas.records import LivenessRecord


@pytest.mark.parametrize(
    ("verdict", "silent", "ended", "expected"),
    [
        ("ready", 0.5, None, True),
        ("not-ready", 0.5, None, True),
        ("ready", 2.0, 1.0, True),
        ("down", 3.0, None, False),  # no power, or cut off: nobody comes through it
        ("down", 3.0, 1.2, True),  # its agent was killed: the kernel passes on by the rules of before
        ("down", 12.0, 11.0, False),  # for good, it seems
        ("down", 0.4, None, True),  # it is back, and not judged anew yet
    ],
)
def test_who_has_to_have_let_go(verdict: str, silent: float, ended: float | None, expected: bool) -> None:
    record = LivenessRecord(node="n1", verdict=verdict)  # type: ignore[arg-type]
    assert passes_on(record, silent=silent, ended=ended) is expected


def test_nobody_comes_through_a_node_that_somebody_confirmed_dead() -> None:
    record = LivenessRecord(node="n1", verdict="down", ended=True)
    assert not passes_on(record, silent=3.0, ended=1.0)


def test_who_was_not_judged_yet_counts_while_it_is_heard() -> None:
    assert passes_on(None, silent=0.5, ended=None)
    assert not passes_on(None, silent=3.0, ended=None)
