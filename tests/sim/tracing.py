"""A hash of all that happened in a simulated world, and when: equal for equal runs.

What is stored (and refused) of decisions and observations, by whom; each message as it arrives; each change on an
engine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from agent.engine.memory_life import Life
from bus.commits import Fence, Outcome, Put, Write
from bus.memory_faults import Packet
from tests.sim.world import World


class Trace:
    """Of one world, from its beginning on."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._digest = hashlib.sha256()
        self._steps: list[str] = []
        world.broker.wire.on_arrive = self._arrived

    def __str__(self) -> str:
        self._take_in()
        return self._digest.hexdigest()[:16]

    def judged(self, user: str, batch: Sequence[Write], fence: Fence | None, outcome: Outcome) -> None:
        """The server has judged a batch."""
        self._take_in()
        self._digest.update(f"{self._world.now:.6f} {user} {fence} {type(outcome).__name__}\n".encode())
        for write in batch:
            self._digest.update(write.key.encode() + (write.value if isinstance(write, Put) else b"-"))

    def changed(self, node: str, life: Life) -> None:
        """A container was made, started, ended, changed or removed."""
        view = life.view
        self._steps.append(f"{self._world.now:.6f} {node} {view.id} {view.name} {view.state} {view.health}")

    def _arrived(self, packet: Packet) -> None:
        self._steps.append(f"{self._world.now:.6f} {packet.sender} {packet.receiver} {packet.subject}")
        if len(self._steps) > 1000:
            self._take_in()

    def _take_in(self) -> None:
        self._digest.update("\n".join(self._steps).encode())
        self._steps.clear()
