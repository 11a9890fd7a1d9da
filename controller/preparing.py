"""Images before anything is stopped: where a slot's next task will go, and whether its image is there.

The assignment names what a node is to get ready (`Assignment.prepare`), the observation tells what is (`prepared`). A
node whose agent does not prepare, or whose present task of the slot has the same images, needs nothing. What runs
before a task (`pre_start`) counts with it.
"""

from __future__ import annotations

from collections.abc import Iterable

from controller.census import Task
from controller.slots import Round
from controller.work import Work
from schemas.spec import TaskSpec


def prepare_ahead(work: Work, round_: Round, tasks: Iterable[Task]) -> None:
    """Have the nodes of tasks that will be replaced get the image, all at once."""
    for task in tasks:
        if not task.fixed and round_.nodes[task.node].open:
            _lacking(work, round_, task, task.node)


def lacking(work: Work, round_: Round, task: Task, node: str) -> str:
    """Why the slot's next task could not start at once on `node`, where `task` is now; "" if it could."""
    return _lacking(work, round_, task, node)


def tidy(work: Work, round_: Round, prepared: Iterable[str]) -> None:
    """Nodes that need to prepare nothing more for the service."""
    for node in prepared:
        if node not in work.preparing and round_.nodes[node].editable:
            round_.draft.unprepare(node, work.name)


def _lacking(work: Work, round_: Round, task: Task, node: str) -> str:
    spec, seen = work.spec, round_.nodes[node].observation
    assert spec is not None, "nothing is replaced without a spec"
    if seen is None or seen.prepared is None or not round_.nodes[node].editable:
        return ""
    old = round_.draft.spec(node, task.spec) if node == task.node else None
    running = task.seen is not None and task.seen.state == "running"
    if old is not None and running and _images(spec.task) <= _images(old) - {""}:
        return ""
    work.preparing.add(node)
    round_.draft.prepare(node, work.name, work.spec_hash, spec.task)
    said = seen.prepared.get(work.spec_hash)
    if said is None:
        return f"{_named(spec.task)} is on its way to node {node}"
    return f"{_named(spec.task)} can't be had on node {node}: {said}" if said else ""


def _images(spec: TaskSpec) -> set[str]:
    """The pinned images of all that a task runs; "": one that is not pinned."""
    own = spec.container
    steps = (step.image_id if step.image and step.image != own.image else own.image_id for step in spec.pre_start)
    return {own.image_id, *steps}


def _named(spec: TaskSpec) -> str:
    others = sorted({step.image for step in spec.pre_start if step.image} - {spec.container.image})
    return f"image {spec.container.image}" + (f" (with {', '.join(others)} for pre_start)" if others else "")
