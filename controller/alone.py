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

    A node that was away for so short a time that nothing can have been made in the task's place was looked at when it
    came back before: then only what fills the slot beside it counts, not what is lost or ends.
    """
    for tasks in slots.values():
        for index, task in enumerate(tasks):
            if not task.alone or task.life != "pending" or task.fixed or not round_.nodes[task.node].back:
                continue
            sole = round_.now < task.sole_until
            others = (other for other in tasks if other.node != task.node and (other.candidate or not sole))
            other = next((other for other in others if _may_run(other, round_)), None)
            if other is not None:
                why = f"the slot is filled by {other.id} on {other.node}"
                ended = round_.draft.end(task, why, f"node.back/{task.node}")
                tasks[index] = replace(task, assigned=ended, life="ending")


def _may_run(task: Task, round_: Round) -> bool:
    """Whether it has a lease, or may still have one."""
    return (task.live and not round_.nodes[task.node].back) or task.held_until > round_.now
