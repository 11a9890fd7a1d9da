"""What `benchmarks/failover.py` judges by, and the table that it prints."""

from __future__ import annotations

import re

import pytest

from benchmarks import failover_table as table


def test_a_figure_is_kept_only_by_the_median_and_the_worst() -> None:
    assert table.holds("leader-kill", [0.7, 0.6, 1.5])
    assert not table.holds("leader-kill", [0.71, 0.71, 0.6]), "the median is above it"
    assert not table.holds("leader-kill", [0.1, 0.1, 1.51]), "the worst is above it"
    assert table.holds("node-running", [900.0])


def test_a_leader_and_a_node_lost_together_may_take_the_sum_of_both() -> None:
    (leader, node, both) = (table.ROWS[name].aim for name in ("leader-kill", "node-seen", "both-seen"))
    assert leader
    assert node
    assert both == (leader[0] + node[0], leader[1] + node[1])
    assert table.ROWS["both-replaced"].aim == table.ROWS["node-replaced"].aim


def test_a_row_says_what_was_found_and_whether_that_is_what_it_may_be() -> None:
    row = table.ROWS["nats-stall"]
    assert table.line("nats-stall", [4.0, 5.0, 8.0]) == (
        f"| {row.began} | {row.ended} | 3 | 5.00 | 8.00 | 8 / 8 | holds |"
    )
    assert table.line("nats-stall", [4.0, 5.0, 8.1]).endswith("| **missed** |")
    assert table.line("node-running", [3.0]).endswith("| 1 | 3.00 | 3.00 |  |  |")


@pytest.mark.parametrize("name", table.ROWS)
def test_every_row_fits_the_head_of_the_table(name: str) -> None:
    assert {each.count("|") for each in (*table.HEAD, table.line(name, [1.0]))} == {8}


def test_what_is_measured_against_a_peer_has_rows_of_its_own() -> None:
    assert {name for pair in table.RATIOS for name in pair} <= table.ROWS.keys()


def test_the_commit_is_told() -> None:
    known = (table.ROOT / ".git").exists()
    assert re.fullmatch(r"[0-9a-f]{10,}\+?" if known else "unknown", table.commit())
