"""An engine and files during whose n-th change the agent's process is killed: before it is done, or after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.unit.agent.rehearsal import Crash

ENGINE_CALLS = frozenset({"create", "attach", "start", "stop", "kill", "remove", "pull", "inspect", "logs", "image"})
FILE_CALLS = frozenset({"write", "append", "remove"})


class Crashing:
    """Passes everything on to `inner`, but for the `at`-th of `calls`."""

    def __init__(self, inner: Any, calls: frozenset[str], at: int, *, after: bool) -> None:
        self._inner = inner
        self._calls = calls
        self._at = at
        self._after = after
        self.count = 0
        self.dead = False

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        return self._wrapped(method) if name in self._calls else method

    def _wrapped(self, method: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            number = self.count
            if self.dead or (number == self._at and not self._after):
                self.dead = True
                raise Crash
            result = await method(*args, **kwargs)
            if self.dead or number == self._at:
                self.dead = True
                raise Crash
            return result

        return call
