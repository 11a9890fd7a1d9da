"""What must not run twice (`stop_after`), when a node comes back that was down.

It has had no lease since, so that what it had not started yet has not run since; from this round on it has one again.
Therefore this is decided in the very round, for each service with a task there, also one that can't be decided about
otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from controller.census import Task
from controller.slots import Round


def end_replaced(slots: Mapping[str, list[Task]], round_: Round) -> None:
    """Of one service: what is not up ends as its node comes back, if another task of its slot may run.

    Of two whose nodes come back, after so short a time that both may run, the older one ends.
    """
    for tasks in slots.values():
        for index, task in enumerate(tasks):
            if not task.alone or task.life != "pending" or task.fixed or not round_.nodes[task.node].back:
                continue
            other = next((other for other in tasks if other.node != task.node and _may_run(other, round_)), None)
            if other is not None:
                why = f"{other.id} on {other.node} has replaced it"
                ended = round_.draft.end(task, why, f"node.back/{task.node}")
                tasks[index] = replace(task, assigned=ended, life="ending", held_until=0.0)


def _may_run(task: Task, round_: Round) -> bool:
    """Whether it has a lease, or may still have one."""
    return (task.live and not round_.nodes[task.node].back) or task.held_until > round_.now
