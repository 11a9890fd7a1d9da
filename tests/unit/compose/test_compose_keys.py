"""Every row of the list of keys does what it says, and docs/COMPOSE.md is that list."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshctl.compose.document import document
from meshctl.compose.keys import KEYS, Key, Outcome, remedy
from schemas.errors import ManifestError
from tests.unit.compose.cases import Honoured, Refused, Warned
from tests.unit.compose.key_cases import CASES
from tests.unit.compose.reading import load

DOC = Path(__file__).resolve().parents[3] / "docs" / "COMPOSE.md"


def test_every_row_has_a_case_and_every_case_a_row() -> None:
    assert {key.path for key in KEYS} == set(CASES)
    assert len({key.path for key in KEYS}) == len(KEYS)


@pytest.mark.parametrize("key", [key for key in KEYS if key.outcome is Outcome.HONOURED], ids=lambda key: key.path)
def test_an_honoured_key_reaches_the_spec_and_survives_being_rendered(key: Key) -> None:
    case = CASES[key.path]
    assert isinstance(case, Honoured)
    stack = load(case.text)
    service = next(service for service in stack.services if service.spec.name == "demo_web")
    assert case.get(service) == case.want
    assert stack.warnings == ()
    assert load(stack.rendered()).services == stack.services


@pytest.mark.parametrize("key", [key for key in KEYS if key.outcome is Outcome.NO_EFFECT], ids=lambda key: key.path)
def test_an_idle_key_gives_one_warning_that_says_why(key: Key) -> None:
    case = CASES[key.path]
    assert isinstance(case, Warned)
    (warning,) = load(case.text).warnings
    assert case.said in warning
    assert key.note in warning


@pytest.mark.parametrize("key", [key for key in KEYS if key.outcome is Outcome.REFUSED], ids=lambda key: key.path)
def test_a_refused_key_is_told_with_its_line_and_what_to_do_instead(key: Key) -> None:
    case = CASES[key.path]
    assert isinstance(case, Refused)
    with pytest.raises(ManifestError) as caught:
        load(case.text)
    place = f"stack.yaml:{case.line}: {case.path}: "
    told = [line for line in str(caught.value).splitlines() if line.startswith(place)]
    assert [line for line in told if case.said in line and line.endswith(case.remedy or remedy(key.path))], str(
        caught.value
    )


def test_the_document_is_made_from_the_list() -> None:
    assert DOC.read_text() == document(), "run: python -m meshctl.compose.document > docs/COMPOSE.md"
