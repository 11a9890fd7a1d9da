"""The soak: several processes, an end, a total, and the failed seeds by name."""

from __future__ import annotations

import asyncio

import pytest

from tests.sim import soaking, totals
from tests.sim.__main__ import tell_of
from tests.sim.chaos import TROUBLE, Result
from tests.sim.loop import Endless, run


def told(seed: int, _: float) -> Result:
    """A story that is told at once; each third one fails."""
    return Result(seed, "", 0.0, (), "Violated: it does" if seed % 3 == 0 else "")


def raises(_seed: int, _seconds: float) -> Result:
    raise ValueError("unexpected")


def test_it_ends_after_so_many_and_names_those_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[tuple[int, int]] = []
    failures: list[Result] = []
    monkeypatch.setattr(totals, "commit_here", lambda: "here")
    monkeypatch.setattr(totals, "note", lambda _, clean, failed: notes.append((clean, failed)))
    monkeypatch.setattr(soaking, "run_seed", told)
    monkeypatch.setattr(soaking, "NOTE_EVERY", 4)
    tally = soaking.soak(10, 11, 2, 1.0, failures.append)
    assert sorted(tally.failed) == sorted(result.seed for result in failures) == [12, 15, 18]
    assert tally.clean == 8
    assert [sum(each) for each in notes] == [4, 4, 3]
    assert tuple(map(sum, zip(*notes, strict=True))) == (8, 3)


def test_what_nobody_expected_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soaking, "run_seed", raises)
    assert "ValueError: unexpected" in soaking.outcome_of(1, 1.0).failure


def test_the_command_that_tells_a_story_again_tells_the_same_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert soaking.again(7, TROUBLE) == "python -m tests.sim 7 --story"
    monkeypatch.setattr(soaking, "run_seed", raises)
    failed = soaking.outcome_of(7, 12.5)
    assert soaking.again(failed.seed, failed.seconds) == "python -m tests.sim 7 --story --seconds 12.5"


def test_a_seed_that_failed_is_told_with_the_command_that_tells_it_again(capsys: pytest.CaptureFixture[str]) -> None:
    tell_of(Result(7, "abc", 1.0, (), "Violated: it does", 12.5))
    assert "again: python -m tests.sim 7 --story --seconds 12.5\n" in capsys.readouterr().out


def test_a_program_that_does_not_end_is_an_error() -> None:
    async def main() -> None:
        while True:
            await asyncio.sleep(10)

    with pytest.raises(Endless):
        run(main(), limit=100.0)
