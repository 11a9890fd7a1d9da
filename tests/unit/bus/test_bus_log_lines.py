"""What the processes of the mesh log."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
import structlog

from bus.logs import configure_logging

SECRET = "cor-rect-horse"


class Terminal(io.StringIO):
    """A stream that says that it is a terminal, or not."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.fixture(autouse=True)
def structlog_as_it_was() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_logged_exception_shows_no_local_variable(terminal: bool) -> None:
    stream = Terminal(terminal=terminal)
    configure_logging(stream=stream)

    def connect(password: str) -> None:
        raise RuntimeError(f"{len(password)} characters were not accepted")

    try:
        connect(SECRET)
    except RuntimeError:
        structlog.get_logger().exception("step.failed")
    said = stream.getvalue()
    assert "step.failed" in said
    assert "characters were not accepted" in said
    assert SECRET not in said
