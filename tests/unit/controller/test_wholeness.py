"""Since when a mirror is known not to show all that its store has, and what ends that."""

from __future__ import annotations

from controller.wholeness import Wholeness


def test_it_is_behind_from_the_first_doubt_until_it_shows_what_the_store_had_after_the_last() -> None:
    whole = Wholeness()
    assert whole.behind_since is None
    whole.doubt(10.0)
    whole.doubt(12.0)
    assert not whole.shows(99), "nobody knows how far the store goes"
    assert whole.behind_since == 10.0
    whole.told(7, whole.doubts)
    assert not whole.shows(6)
    assert whole.behind_since == 10.0
    assert whole.shows(7)
    assert whole.behind_since is None


def test_an_answer_to_what_was_asked_before_something_was_missed_ends_no_doubt() -> None:
    whole = Wholeness()
    whole.doubt(10.0)
    asked = whole.doubts
    whole.doubt(11.0)
    whole.told(5, asked)
    assert not whole.shows(9)
    assert whole.behind_since == 10.0


def test_what_was_owed_before_another_doubt_is_not_enough() -> None:
    whole = Wholeness()
    whole.doubt(10.0)
    whole.told(5, whole.doubts)
    whole.doubt(11.0)
    assert not whole.shows(5)
    assert whole.behind_since == 10.0


def test_a_store_that_grows_while_all_of_it_comes_raises_no_doubt() -> None:
    whole = Wholeness()
    whole.told(5, whole.doubts)
    assert not whole.shows(4)
    assert not whole.shows(5), "it was whole before"
    assert whole.behind_since is None
