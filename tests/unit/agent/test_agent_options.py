"""What the options of `mesh-agent` come to."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.main import _options, config_of
from agent.parts import AgentConfig
from schemas.errors import UsageError


def config(*more: str) -> AgentConfig:
    given = ["--node", "n1", "--credentials", "c", "--data", str(Path("d")), *more]
    return config_of(_options(given), "boot-1")


@pytest.mark.parametrize(
    "address", ["nonsense", "::1", "127.0.0.1", "0.0.0.0", "224.0.0.1", "10.0.0.1/24", "n2.example"]
)
def test_an_address_by_which_nobody_reaches_this_node_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="--address") as refused:
        config("--address", address)
    assert address in str(refused.value)
    assert "leave it out" in refused.value.hint


def test_an_address_is_taken_and_none_is_fine() -> None:
    assert config("--address", "192.0.2.1").machine.address == "192.0.2.1"
    assert config().machine.address == ""
