"""Which tasks this node should run, end, or only look at: from the assignment and what the agent started by itself.

Absence is never a decision: without a stored assignment, or while this agent is refused as a member, every task is
kept as it is. Nor is absence from an assignment that is known from the disk alone (`agent.assignments`). All of that
is kept for as long as its lease lets it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from agent.local import LocalTask, as_assigned, is_successor, root_of, successor_number
from agent.tasks import Intent, Standing
from schemas.assignment import AssignedTask, Assignment
from schemas.spec import TaskSpec


@dataclass(frozen=True)
class Wanted:
    """What is to become of one task. `task` and `spec` None: nothing is known but its container."""

    intent: Intent
    task: AssignedTask | None = None
    spec: TaskSpec | None = None
    named: bool = False
    """Whether the assignment names it."""


KEEP = Wanted("keep")
END = Wanted("end")
CEASE = Wanted("cease")


def wanted_tasks(
    assignment: Assignment | None,
    local: Mapping[str, LocalTask],
    *,
    frozen: bool = False,
    confirmed: bool = True,
    standing: Callable[[float], Standing] = lambda _: "free",
) -> dict[str, Wanted]:
    """What is wanted of every task that the assignment names or this agent knows of."""
    if assignment is None:
        return {id_: _kept(local[id_], standing) for id_ in sorted(local)}
    named = {task.id: _named(task, assignment, frozen, standing) for task in assignment.tasks}
    others = {id_: _unnamed(task, named, local) for id_, task in sorted(local.items()) if id_ not in named}
    if frozen:
        others = {id_: _kept(local[id_], standing) for id_ in others}
    elif not confirmed:
        others = {id_: _kept(local[id_], standing) if want == END else want for id_, want in others.items()}
    return {**named, **others}


def _named(task: AssignedTask, assignment: Assignment, frozen: bool, standing: Callable[[float], Standing]) -> Wanted:
    spec = assignment.specs.get(task.spec)
    intent: Intent = "keep" if frozen else "end" if task.desired == "shutdown" else "run"
    if intent != "end" and (may := standing(spec.stop_after if spec is not None else 0.0)) != "free":
        intent = "cease" if may == "lapsed" else intent if frozen else "hold"
    return Wanted(intent, task, spec, named=True)


def _unnamed(task: LocalTask, named: Mapping[str, Wanted], local: Mapping[str, LocalTask]) -> Wanted:
    """A successor stands as long as the ended task whose place it holds is still wanted."""
    holds = stands_for(task.id, named)
    base, ended = named.get(holds), local.get(holds)
    if base is None or base.intent != "run" or base.task is None or ended is None or not ended.ended:
        return END
    return Wanted("run", as_assigned(base.task, task.id), base.spec)


def _kept(task: LocalTask, standing: Callable[[float], Standing]) -> Wanted:
    """Of a task that may only be missing in what is known: its container goes on for as long as its lease lets it."""
    return CEASE if task.container and standing(task.stop_after) == "lapsed" else KEEP


def stands_for(task: str, named: Iterable[str]) -> str:
    """Of a successor: the nearest named task that it descends from and whose place it holds; "" if there is none."""
    if not is_successor(task):
        return ""
    root, number = root_of(task), successor_number(task)
    ancestors = [name for name in named if root_of(name) == root and successor_number(name) < number]
    return max(ancestors, key=successor_number, default="")


def to_observe(local: Iterable[LocalTask], wanted: Mapping[str, Wanted]) -> tuple[LocalTask, ...]:
    """The tasks that the mesh is told of: all named ones, every other that lives, the latest successor of each."""
    tasks = sorted(local, key=lambda task: task.id)
    latest = latest_successors(tasks)
    return tuple(
        task
        for task in tasks
        if not task.ended or wanted.get(task.id, END).named or latest.get(task.predecessor) is task
    )


def latest_successors(local: Iterable[LocalTask]) -> dict[str, LocalTask]:
    """Task id -> the last of the successors that hold its place."""
    from_base: dict[str, LocalTask] = {}
    for task in sorted(local, key=lambda task: task.number):
        if task.predecessor:
            from_base[task.predecessor] = task
    return from_base


def forgettable(local: Iterable[LocalTask], wanted: Mapping[str, Wanted]) -> tuple[str, ...]:
    """Tasks whose end was stored and which nothing names or descends from any more."""
    return tuple(
        task.id
        for task in local
        if task.ended
        and task.end_stored
        and not wanted.get(task.id, END).named
        and wanted.get(task.predecessor, END).intent != "run"
    )
