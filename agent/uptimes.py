"""For how long each task has been up, as far as this process has seen it: durations of a clock that is never set.

Wall clocks do not tell that: they may be off, and be put right meanwhile. What was up before this process, or before
the engine answered again, counts from that answer on; while it does not answer, nothing goes on counting.
"""

from __future__ import annotations

from agent.engine_health import EngineHealth
from agent.ledger import Ledger
from agent.local import LocalTask
from schemas.clock import Clock


class Uptimes:
    """Listens to the ledger and the engine's health."""

    def __init__(self, ledger: Ledger, health: EngineHealth, clock: Clock) -> None:
        self._ledger = ledger
        self._health = health
        self._clock = clock
        self._since: dict[str, float] = {}
        """Of those that are up."""
        self._longest: dict[str, float] = {}
        """Of those that are not, or were not meanwhile."""
        ledger.task_listeners.append(self._noted)
        health.listeners.append(self._health_changed)

    def told(self) -> dict[str, float]:
        """Task -> the longest time in seconds for which it was up without a break, also if it is not any more."""
        longest = {task: self._so_far(task) for task in sorted(self._longest.keys() | self._since.keys())}
        return {task: seconds for task, seconds in longest.items() if seconds > 0}

    def _so_far(self, task: str) -> float:
        since = self._since.get(task)
        lasted = self._clock.monotonic() - since if since is not None else 0.0
        return max(lasted, self._longest.get(task, 0.0))

    def _noted(self, id_: str, task: LocalTask | None) -> None:
        if task is None:
            self._since.pop(id_, None)
            self._longest.pop(id_, None)
        elif task.observed().up:
            if not self._health.trouble:
                self._since.setdefault(id_, self._clock.monotonic())
        elif id_ in self._since:
            longest = self._so_far(id_)
            self._longest[id_] = min(longest, task.ran) if task.ended else longest  # it may have been seen late
            del self._since[id_]

    def _health_changed(self) -> None:
        self._longest = {task: self._so_far(task) for task in self._longest.keys() | self._since.keys()}
        up = [task.id for task in self._ledger.tasks.values() if task.observed().up]
        self._since = {} if self._health.trouble else dict.fromkeys(up, self._clock.monotonic())
