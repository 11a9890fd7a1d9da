"""The election as a pure state machine: lists of what is heard, lists of what is done."""

from __future__ import annotations

from controller.election import (
    BARRED_WAIT,
    CUT_JITTER,
    CUT_WAIT,
    HANDED_OVER_JITTER,
    JITTER,
    Action,
    Barred,
    BeatHeard,
    Deposed,
    Election,
    EpochShown,
    Input,
    Lead,
    LeaderCut,
    Lost,
    Stand,
    StepDown,
    Tick,
    Won,
    begin,
    step,
)
from schemas.liveness import LEADER_SILENCE


def play(*events: tuple[float, Input], chance: float = 0.5) -> tuple[Election, list[Action]]:
    """What comes of events at their times, from a start at 0."""
    election, done = begin("c1", 0.0, chance), []
    for now, event in events:
        election, actions = step(election, event, now, chance)
        done += actions
    return election, done


def test_a_fresh_controller_listens_before_it_stands() -> None:
    election, done = play((0.9, Tick()))
    assert not done
    election, done = play((LEADER_SILENCE + JITTER / 2, Tick()))
    assert done == [Stand()]
    assert election.role == "standing"


def test_every_beat_puts_the_moment_off_so_the_last_one_counts_after_the_jitter() -> None:
    _, done = play((1.1, BeatHeard("c2", 5)), (1.2, Tick()), (2.2, Tick()))
    assert not done
    _, done = play((1.1, BeatHeard("c2", 5)), (1.1 + LEADER_SILENCE + JITTER, Tick()))
    assert done == [Stand()]


def test_chance_spreads_those_who_stand() -> None:
    first, second = begin("c1", 0.0, 0.0), begin("c2", 0.0, 1.0)
    assert (first.due, second.due) == (LEADER_SILENCE, LEADER_SILENCE + JITTER)


def test_a_beat_of_a_lower_epoch_is_that_of_a_leader_who_does_not_know() -> None:
    election, _ = play((0.1, BeatHeard("c3", 9)), (0.5, BeatHeard("c2", 5)))
    assert (election.holder, election.epoch) == ("c3", 9)
    assert election.due == 0.1 + LEADER_SILENCE + JITTER / 2


def test_the_cut_of_the_leaders_connection_brings_the_moment_near() -> None:
    heard = (0.0, BeatHeard("c2", 5))
    election, _ = play(heard, (0.1, LeaderCut("c2")))
    assert election.due == 0.1 + CUT_WAIT + CUT_JITTER / 2
    election, _ = play(heard, (0.1, LeaderCut("c3")))
    assert election.due == LEADER_SILENCE + JITTER / 2, "not the leader"
    election, _ = play(heard, (0.1, LeaderCut("c2")), (0.2, BeatHeard("c2", 5)))
    assert election.due == 0.2 + LEADER_SILENCE + JITTER / 2, "it is back over another connection"


def test_a_hand_over_is_followed_at_once_whether_heard_or_shown() -> None:
    heard, _ = play((0.0, BeatHeard("c2", 5)), (0.1, BeatHeard("c2", 5, stepping_down=True)))
    shown, _ = play((0.0, BeatHeard("c2", 5)), (0.1, EpochShown("", 6)))
    assert heard.due == shown.due == 0.1 + HANDED_OVER_JITTER / 2


def test_a_won_takeover_leads_and_a_lost_one_waits_anew() -> None:
    standing = (1.2, Tick())
    election, done = play(standing, (1.3, Won(7)))
    assert done == [Stand(), Lead(7)]
    assert (election.role, election.epoch, election.holder) == ("leader", 7, "c1")
    election, done = play(standing, (1.3, Lost(8, "c2")))
    assert done == [Stand()]
    assert (election.role, election.epoch, election.holder) == ("follower", 8, "c2")
    assert election.due == 1.3 + LEADER_SILENCE + JITTER / 2


def test_a_takeover_that_was_overtaken_before_its_answer_is_not_led() -> None:
    election, done = play((1.2, Tick()), (1.3, BeatHeard("c2", 9)), (1.4, Won(7)))
    assert done == [Stand()]
    assert (election.role, election.epoch) == ("follower", 9)


def test_the_own_takeover_shown_by_the_store_before_its_answer_changes_nothing() -> None:
    _, done = play((1.2, Tick()), (1.3, EpochShown("c1", 7)), (1.4, Won(7)))
    assert done == [Stand(), Lead(7)]


def test_a_leader_steps_down_for_a_higher_epoch_or_a_refused_write_only() -> None:
    leading: list[tuple[float, Input]] = [(1.2, Tick()), (1.3, Won(7))]
    for event in (BeatHeard("c2", 8), EpochShown("c2", 8), EpochShown("", 8), Deposed()):
        election, done = play(*leading, (2.0, event))
        assert isinstance(done[-1], StepDown), event
        assert election.role == "follower"
    for harmless in (BeatHeard("c1", 7), BeatHeard("c2", 6), EpochShown("c1", 7), Tick(), LeaderCut("c1"), Lost(0)):
        _, done = play(*leading, (60.0, harmless)) if not isinstance(harmless, Lost) else play(*leading)
        assert done == [Stand(), Lead(7)], harmless


def test_a_store_that_may_not_be_led_is_looked_at_again_later() -> None:
    election, done = play((1.2, Tick()), (1.3, Barred()), (1.5, Tick()))
    assert done == [Stand()]
    assert election.due == 1.3 + BARRED_WAIT + JITTER / 2


def test_deposed_comes_too_late_for_a_follower() -> None:
    before, _ = play((0.1, BeatHeard("c2", 5)))
    after, done = play((0.1, BeatHeard("c2", 5)), (0.2, Deposed()))
    assert (after, done) == (before, [])
