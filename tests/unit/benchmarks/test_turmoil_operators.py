"""What the operators of the chaos benchmark take for lost."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from benchmarks.turmoil import operators
from benchmarks.turmoil.operators import Operators
from benchmarks.turmoil.orders import Order, Wanted
from schemas.errors import Unreachable

BEFORE, WANTED = Wanted(replicas=2), Wanted(replicas=3)
SCALE = Order("scale", replicas=3)


class Answering:
    """A mesh whose controllers show these, one after the other, the last one for ever."""

    def __init__(self, *shown: Wanted, answers: bool = True) -> None:
        self.shown: Iterator[Wanted] = itertools.chain(shown, itertools.repeat(shown[-1]))
        self.answers = answers

    async def scale(self, _: object) -> None:
        if not self.answers:
            raise Unreachable("no answer")


async def _lost(mesh: Answering, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    async def look(_: object) -> Wanted:
        return next(mesh.shown)

    monkeypatch.setattr(operators, "look", look)
    monkeypatch.setattr(operators, "PAUSE", 0.001)
    monkeypatch.setattr(operators, "PATIENCE", 0.05)
    people = Operators(cast("Any", None), iter(()), Path(), lambda _: None)
    people.wanted = BEFORE
    await people._do(cast("Any", mesh), SCALE)
    assert people.acknowledged == 1
    return people.lost


async def test_what_was_answered_has_to_show_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await _lost(Answering(WANTED), monkeypatch) == []
    assert len(await _lost(Answering(BEFORE, WANTED), monkeypatch)) == 1


async def test_what_was_only_seen_may_not_show_at_a_controller_that_is_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await _lost(Answering(WANTED, BEFORE, WANTED, answers=False), monkeypatch) == []


async def test_what_was_only_seen_and_never_shows_again_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(await _lost(Answering(WANTED, BEFORE, answers=False), monkeypatch)) == 1
