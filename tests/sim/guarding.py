"""While the store is lost, empty or an older one, nothing is stopped but what a leader had decided to end.

What it decided before, and in the seconds until it must have noticed, may be stored in an older store, and is carried
out; what must not run twice ends by its lease.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bus.commits import Put, Write
from controller.follower import COMPARE_EVERY
from schemas.assignment import Assignment
from schemas.task_ids import lineage
from schemas.wire import decode
from tests.sim.intent import Intent, of_stream
from tests.sim.world import World

NOTICED = COMPARE_EVERY + 1.0
"""Seconds within which a leader must have noticed: it looks so often, and waits for an answer."""


@dataclass
class Guarded:
    """Containers that must not be stopped now: their tasks were to run when the store went."""

    world: World
    since: float
    truth: Intent
    """What the store wanted then."""
    containers: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Id -> node, task (the first of its chain of successors)."""
    asked: set[str] = field(default_factory=set)
    """Tasks whose end was decided before anybody could know."""

    def stored(self, user: str, batch: Sequence[Write], decided_at: float) -> None:
        """A batch that a leader has stored, in what is an older store; when it decided that."""
        if user == "operator" or decided_at > self.since + NOTICED:
            return
        for write in batch:
            if write.key.startswith("desired.") and isinstance(write, Put):
                tasks = decode(write.value, Assignment).tasks
                self.asked.update(lineage(task.id) for task in tasks if task.desired == "shutdown")

    def look(self, violated: Callable[[str], None]) -> None:
        """Look at the engines."""
        for container, (name, task) in list(self.containers.items()):
            if container in self.world.nodes[name].engine.stopped:
                del self.containers[container]
                if task not in self.asked:
                    violated(f"{container[:12]} on {name} was stopped while the store was not what it was")


def guard(world: World) -> None:
    """From now on nothing that is to run may be stopped."""
    if world.guarded is not None:
        return
    guarded = world.guarded = Guarded(world, world.now, of_stream(world.broker.state.stream))
    for name, node in sorted(world.nodes.items()):
        to_run = {lineage(task.id) for task in guarded.truth.assigned(name) if task.desired == "running"}
        for life in node.live():
            task = lineage(life.view.labels["mesh.task"])
            if life.view.labels["mesh.service"] in world.alone:
                continue  # without a store nobody's lease is renewed
            if task in to_run and life.view.id not in node.engine.stopped:
                guarded.containers[life.view.id] = (name, task)
