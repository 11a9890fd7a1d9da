"""What `mesh-agent` refuses at its start."""

from __future__ import annotations

import pytest

from agent.main import _options, config_of
from schemas.errors import UsageError

REQUIRED = ["--node", "n1", "--credentials", "c", "--data", "d"]


def test_labels_are_told_as_they_were_given() -> None:
    config = config_of(_options([*REQUIRED, "--label", "zone=eu", "--label", "ssd"]), boot="")
    assert config.labels == {"zone": "eu", "ssd": ""}


@pytest.mark.parametrize(
    ("label", "says"),
    [("zo ne=eu", "'zo ne' is no label's name"), ("zone=" + "x" * 1025, "the value of label zone is longer than 1024")],
)
def test_a_label_that_no_node_may_have_is_refused_at_the_start(label: str, says: str) -> None:
    with pytest.raises(UsageError, match=f"--label: {says}") as refused:
        config_of(_options([*REQUIRED, "--label", label]), boot="")
    assert refused.value.hint
