"""What labels a node may have."""

from __future__ import annotations

import pytest

from schemas.nodelabels import label_trouble


@pytest.mark.parametrize(
    "labels",
    [
        {},
        {"zone": "eu", "example.com/rack": "", "a": "x" * 1024},
        {f"k{number}": "" for number in range(100)},
        {"a" * 128: "b"},
    ],
)
def test_such_are_taken(labels: dict[str, str]) -> None:
    assert label_trouble(labels) == ""


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ({f"k{number}": "" for number in range(101)}, "101 labels on one node, at most 100"),
        ({"zone": "x" * 1025}, "the value of label zone is longer than 1024 characters"),
        ({"a" * 129: ""}, "is longer than 128 characters"),
        ({"a b": ""}, "'a b' is no label's name"),
        ({"": "eu"}, "'' is no label's name"),
        ({"-zone": "eu"}, "'-zone' is no label's name"),
    ],
)
def test_such_are_not(labels: dict[str, str], says: str) -> None:
    assert says in label_trouble(labels)


def test_a_bad_name_is_not_told_in_full() -> None:
    assert len(label_trouble({"!" * 1_000_000: ""})) < 200
