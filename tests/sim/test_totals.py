"""The total of clean seeds by commit, as the soak keeps it."""

from __future__ import annotations

import pytest

from tests.sim.totals import HEAD, PAGE, ROOT, RULE, added

PAGE_BEFORE = f"# Title\n\n{HEAD}\n{RULE}\n| aaa | 10 | 1 |\n\nAfter it.\n"


def test_a_commit_that_is_known_is_added_up() -> None:
    assert added(PAGE_BEFORE, "aaa", 5, 2) == PAGE_BEFORE.replace("| aaa | 10 | 1 |", "| aaa | 15 | 3 |")


def test_a_new_commit_gets_a_row_at_the_end_of_the_table() -> None:
    after = added(PAGE_BEFORE, "bbb", 7, 0)
    assert after == PAGE_BEFORE.replace("| aaa | 10 | 1 |\n", "| aaa | 10 | 1 |\n| bbb | 7 | 0 |\n")


def test_a_page_without_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="not in list"):
        added("# Title\n", "aaa", 1, 0)


def test_the_document_has_the_table() -> None:
    assert "| tried | 1 | 0 |" in added((ROOT / PAGE).read_text(), "tried", 1, 0)
