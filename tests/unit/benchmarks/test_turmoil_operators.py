"""What the operators of the chaos benchmark take for lost."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
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

    async def deploy_stack(self, _: object) -> None:
        raise Unreachable("no answer")

    async def rollback(self, _: str, *, to: int) -> None:
        self.brought_back = to


REVISION = 7


def _people(mesh: Answering, monkeypatch: pytest.MonkeyPatch) -> Operators:
    async def look(_: object) -> tuple[Wanted, int]:
        return next(mesh.shown), REVISION

    monkeypatch.setattr(operators, "look", look)
    monkeypatch.setattr(operators, "PAUSE", 0.001)
    monkeypatch.setattr(operators, "PATIENCE", 0.05)
    monkeypatch.setattr(operators, "deploy_request", lambda *_: None)
    people = Operators(cast("Any", SimpleNamespace(nodes=())), iter(()), Path(), lambda _: None)
    people.wanted = BEFORE
    return people


async def _lost(mesh: Answering, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    people = _people(mesh, monkeypatch)
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


async def test_what_was_only_seen_may_not_show_at_rest_either(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = Answering(WANTED, WANTED, BEFORE, WANTED, answers=False)
    people = _people(mesh, monkeypatch)
    people._working.set()  # so that it does not wait for work
    await people._do(cast("Any", mesh), SCALE)
    await people._come_to_rest(cast("Any", mesh))
    assert people.lost == []


async def test_a_deploy_that_was_only_seen_can_be_brought_back(monkeypatch: pytest.MonkeyPatch) -> None:
    deployed = Wanted(mark=2, replicas=2)
    mesh = Answering(deployed, answers=False)
    people = _people(mesh, monkeypatch)
    await people._do(cast("Any", mesh), Order("deploy", mark=2, replicas=2))
    await people._do(cast("Any", mesh), Order("rollback", mark=2))
    assert mesh.brought_back == REVISION


async def test_once_an_order_was_answered_it_has_to_show_at_once_again(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = Answering(WANTED, WANTED, BEFORE, WANTED, answers=False)
    people = _people(mesh, monkeypatch)
    await people._do(cast("Any", mesh), SCALE)
    mesh.answers = True
    await people._do(cast("Any", mesh), SCALE)
    assert len(people.lost) == 1
