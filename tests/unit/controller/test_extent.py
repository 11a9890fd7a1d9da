"""How far a store was said to go."""

from __future__ import annotations

from controller.extent import Extent


def told(*answers: tuple[str, int]) -> Extent:
    """One question after the other."""
    extent = Extent()
    for created, last in answers:
        extent.told(created, last, extent.furthest)
    return extent


def test_a_store_that_nobody_told_of_or_that_grows_did_not_go_back() -> None:
    assert not told().went_back
    grown = told(("a", 3), ("a", 3), ("a", 7))
    assert not grown.went_back
    assert grown.furthest == 7


def test_a_store_that_ends_before_what_was_told_went_back_until_it_is_as_long_again() -> None:
    assert told(("a", 7), ("a", 6)).went_back
    assert told(("a", 7), ("a", 5), ("a", 6)).went_back
    assert (told(("a", 7), ("a", 6)).last, told(("a", 7), ("a", 6)).furthest) == (6, 7)
    assert not told(("a", 7), ("a", 6), ("a", 7)).went_back


def test_a_stream_that_was_made_anew_may_be_shorter() -> None:
    assert not told(("a", 7), ("b", 3)).went_back
    assert told(("a", 7), ("b", 3), ("b", 2)).furthest == 3
    assert not told(("a", 7), ("a", 6), ("b", 3)).went_back


def test_an_answer_may_be_older_than_one_that_came_before_it() -> None:
    extent = told(("a", 3))
    asked = extent.furthest
    extent.told("a", 7, extent.furthest)
    extent.told("a", 5, asked)
    assert not extent.went_back
    extent.told("a", 6, extent.furthest)
    extent.told("a", 3, asked)
    assert extent.went_back, "what was asked later tells"
