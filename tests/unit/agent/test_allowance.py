"""A few at once after a quiet time, so often in the long run."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.allowance import CREDIT, SPACING, Allowance


def test_after_a_quiet_time_a_few_go_out_at_once() -> None:
    allowance = Allowance()
    assert [allowance.take(100.0, 1.0) for _ in range(7)] == [SPACING] * 5 + [1.0, 2.0]
    assert allowance.take(200.0, 1.0) == SPACING


def test_in_a_large_mesh_fewer_go_out_at_once() -> None:
    assert Allowance().take(100.0, 8.0) == 3.0


@given(st.floats(0.5, 10.0), st.lists(st.floats(0.0, 5.0), min_size=1, max_size=60))
def test_in_the_long_run_no_more_go_out_than_one_each_time(every: float, later: list[float]) -> None:
    allowance, now, told = Allowance(), 1000.0, 0
    for more in later:
        now += allowance.take(now, every) + more
        told += 1
    assert told <= (now - 1000.0 + CREDIT) / every + 1
