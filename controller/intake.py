"""What agents tell, held to what an honest one says: a text is cut, a list ends, before anything is made of it. Pure.

What is kept of it goes into records, reasons and every round: one agent must not make those too large to be stored or
too long to be thought about (docs/SECURITY.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import is_not
from typing import TypeVar

from msgspec.structs import replace

from schemas.liveness import Heartbeat
from schemas.network import FIRST_VNI, LAST_VNI
from schemas.observation import LOG_TAIL_LINES, LOG_TAIL_WIDTH, NodeFacts, Observation, ObservedTask
from schemas.wire import Wire

NAME = 255
"""Characters of an id, a name or an image's reference: what has more is nobody's."""

TEXT = 512
"""Characters of a reason; agents cut theirs before, most at 256."""

ROUTES = 1_000
"""Address ranges that a machine routes, of which the mesh's networks keep clear."""

ENTRIES = 10_000
"""Volumes, ports, troubles and the like of one node."""

NETWORKS = LAST_VNI - FIRST_VNI + 1
"""There are no more in a mesh."""

W = TypeVar("W", bound=Wire)

_NAMES = ("id", "slot", "spec", "stack", "container", "image", "predecessor")
_PLATFORM = ("hostname", "address", "os", "architecture", "kernel", "cgroup")
_FACTS = (*_PLATFORM, "engine_version", "agent_version", "storage_driver", "networking")


def tidy_observation(told: Observation) -> Observation:
    """The same where nothing is too long; else without what is."""
    changed = _cut_texts(told, ("engine",)) | _cut_maps(told, ("troubles", "prepared"))
    tasks = tuple(tidy for task in told.tasks if (tidy := _tidy_task(task)) is not None)
    if len(tasks) < len(told.tasks) or any(map(is_not, tasks, told.tasks)):
        changed["tasks"] = tasks
    if (facts := _tidy_facts(told.facts)) is not told.facts:
        changed["facts"] = facts
    if len(told.volumes) > ENTRIES or any(len(each) > NAME for each in told.volumes):
        changed["volumes"] = tuple(each for each in told.volumes if len(each) <= NAME)[:ENTRIES]
    if len(told.ports_taken) > ENTRIES:
        changed["ports_taken"] = told.ports_taken[:ENTRIES]
    return _changed(told, changed)


def tidy_heartbeat(told: Heartbeat) -> Heartbeat:
    """The same where nothing is too long; else without what is."""
    changed = _cut_texts(told, ("engine", "untold"))
    if len(told.networks) > NETWORKS:
        changed["networks"] = told.networks[:NETWORKS]
    return _changed(told, changed)


def _tidy_task(task: ObservedTask) -> ObservedTask | None:
    """None: it has names that no task has."""
    if any(len(getattr(task, name)) > NAME for name in _NAMES):
        return None
    changed = _cut_texts(task, ("error", "not_ready")) | _cut_maps(task, ("addresses",))
    if len(task.log_tail) > LOG_TAIL_LINES or any(len(line) > LOG_TAIL_WIDTH for line in task.log_tail):
        changed["log_tail"] = tuple(line[:LOG_TAIL_WIDTH] for line in task.log_tail[-LOG_TAIL_LINES:])
    if len(task.ports) > ENTRIES:
        changed["ports"] = task.ports[:ENTRIES]
    return _changed(task, changed)


def _tidy_facts(facts: NodeFacts) -> NodeFacts:
    changed = _cut_texts(facts, _FACTS) | _cut_maps(facts, ("sysctls", "engine_labels"))
    for name in ("routes", "security"):
        told: tuple[str, ...] = getattr(facts, name)
        if len(told) > ROUTES or any(len(each) > NAME for each in told):
            changed[name] = tuple(each for each in told if len(each) <= NAME)[:ROUTES]
    return _changed(facts, changed)


def _cut_texts(told: Wire, names: Iterable[str]) -> dict[str, object]:
    return {name: _cut(text) for name in names if len(text := getattr(told, name)) > TEXT}


def _cut_maps(told: Wire, names: Iterable[str]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name in names:
        texts: Mapping[str, str] = getattr(told, name) or {}
        if len(texts) > ENTRIES or any(len(key) > NAME or len(text) > TEXT for key, text in texts.items()):
            fitting = [(key, _cut(text)) for key, text in texts.items() if len(key) <= NAME]
            found[name] = dict(fitting[:ENTRIES])
    return found


def _cut(text: str) -> str:
    return text if len(text) <= TEXT else f"{text[: TEXT - 3]}..."


def _changed(told: W, changed: Mapping[str, object]) -> W:
    return replace(told, **changed) if changed else told
