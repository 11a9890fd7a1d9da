"""What is tried again and again is told once, when the reason changes, and every now and then."""

from __future__ import annotations

import pytest
import structlog
from structlog.testing import capture_logs

from bus import logs
from bus.logs import Waiting


@pytest.fixture(autouse=True)
def logging_as_it_was() -> None:
    """Whatever tests before have set up."""
    structlog.reset_defaults()


async def test_the_same_reason_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "EVERY", 1000.0)
    with capture_logs() as told:
        waiting = Waiting(structlog.get_logger(), "leader.waited")
        for _ in range(5):
            waiting.tell("no writes", epoch=2)
        waiting.tell("no reads")
        waiting.tell("no reads")
        waiting.over()
        waiting.tell("no reads")
    assert [(line["event"], line["why"]) for line in told] == [
        ("leader.waited", "no writes"),
        ("leader.waited", "no reads"),
        ("leader.waited", "no reads"),
    ]
    assert told[1]["again"] == 4


async def test_it_is_told_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "EVERY", 0.0)
    with capture_logs() as told:
        waiting = Waiting(structlog.get_logger(), "leader.waited")
        waiting.tell("no writes")
        waiting.tell("no writes")
    assert len(told) == 2
