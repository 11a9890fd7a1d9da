"""Whether an ended container was told to end, and not by this agent: by `docker stop`, or by its engine.

An engine that is stopped, or comes back after it was killed, ends its containers with their stop signal. Programs that
end well then have exit code 0, as if their work were done. The container itself keeps no trace of it; the engine tells
a `kill` event and keeps its last 256 events while it runs. So both are asked: what was heard, and what it still knows.
"""

from __future__ import annotations

import signal
from contextlib import closing

from agent.engine.docker_client import Api
from agent.engine.docker_errors import LIBRARY_ERRORS, is_timeout
from agent.engine.docker_views import signal_of
from agent.engine.model import Container, EngineEvent

DEADLY = frozenset(
    {signal.SIGINT, signal.SIGQUIT, signal.SIGKILL, signal.SIGTERM, signal.SIGWINCH, signal.SIGRTMIN + 3}
)
"""What images name as their stop signal. Others (HUP, USR1) tell a program something else. 37: systemd's."""

LEAVE = 2.0
"""Seconds more than its own grace that a container may take from its signal to its end."""

AFTER = 0.1
"""Seconds after its end up to which signals are asked for: their event comes before that, but for the odd delay."""

AHEAD = 1.0
"""Seconds by which what is asked for may lie ahead of now: the engine answers once that is over."""

DOUBTFUL = frozenset({0, 128 + signal.SIGKILL, 128 + signal.SIGTERM})
"""Exit codes that may come from such an end."""


class Signals:
    """What is known of signals that containers got."""

    def __init__(self) -> None:
        self._ours: set[str] = set()
        self._heard: dict[str, float] = {}

    def sent(self, container: str) -> None:
        """This agent tells it to end."""
        self._ours.add(container)

    def heard(self, event: EngineEvent) -> None:
        """The engine has told this."""
        if event.signal in DEADLY and event.container not in self._ours:
            self._heard[event.container] = event.at

    def forget(self, container: str) -> None:
        """It is gone."""
        self._ours.discard(container)
        self._heard.pop(container, None)

    def in_doubt(self, view: Container) -> bool:
        """Whether an ended container may have been told to end by somebody else."""
        return view.ended and view.id not in self._ours and view.exit_code in DOUBTFUL

    def told(self, view: Container) -> bool:
        """Whether what was heard explains its end."""
        at = self._heard.get(view.id)
        return at is not None and _explains(at, view)


def asked_to_end(api: Api, view: Container, now: float) -> bool:
    """Whether the engine still knows that it was told to end. `now`: wall clock.

    An end ahead of `now` (the clock was set back) is not asked about: the engine would answer only when that is over.
    Nor can the question end earlier: it may then end before it begins, which engines refuse. No answer in time is
    none: the container itself was told.
    """
    if not view.finished_at or view.finished_at + AFTER > now + AHEAD:
        return False
    filters = {"type": "container", "container": view.id, "event": "kill"}
    since, until = f"{view.started_at:.9f}", f"{view.finished_at + AFTER:.9f}"
    try:
        with closing(api.events(since=since, until=until, filters=filters, decode=True)) as known:  # type: ignore[call-overload]
            return any(
                signal_of(each["Actor"].get("Attributes") or {}) in DEADLY
                and _explains(int(each["timeNano"]) / 1e9, view)
                for each in known
            )
    except LIBRARY_ERRORS as error:
        if is_timeout(error):
            return False
        raise


def _explains(at: float, view: Container) -> bool:
    grace = 10.0 if view.stop_grace is None else view.stop_grace
    return view.finished_at - grace - LEAVE <= at <= view.finished_at + LEAVE
