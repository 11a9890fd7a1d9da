"""Empty slots that found no place, tried again once others have theirs: these may have brought what was missing.

Room only gets less while a round places tasks; but a volume is where a task that names it was placed (a global service
takes it to every node), and so is company. Else the next round would decide what this one can, without anything new.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from controller.placement import Group
from controller.slots import Round, place_task
from controller.volumes import named_volumes
from controller.work import Past, Work
from schemas.spec import TaskSpec

Grouped = Callable[[Past | None], Group]
"""The identical tasks of the wanted spec, or of a past one, as a group to place."""


def fill_again(work: Work, round_: Round, grouped: Grouped) -> bool:
    """Give empty slots that were refused a place what they need now; whether any has got it."""
    empty = [slot for slot in work.unplaced if not work.candidates(slot)]
    old = set(work.refilled)
    placed = _place(work, round_, grouped, [slot for slot in empty if slot not in old], None)
    return _place(work, round_, grouped, [slot for slot in empty if slot in old], work.past) or placed


def _place(work: Work, round_: Round, grouped: Grouped, slots: Collection[str], past: Past | None) -> bool:
    spec = past.spec if past is not None else work.spec
    if not slots or spec is None or not _may_gain(spec.task):
        return False
    again = set(slots)
    work.unplaced = [slot for slot in work.unplaced if slot not in again]
    work.elsewhere -= again
    group = grouped(past)
    found = [place_task(work, round_, group, slot, past) for slot in slots]
    group.finish()
    return any(found)


def _may_gain(spec: TaskSpec) -> bool:
    """Whether a place for it may come of what others get."""
    volumes = (*named_volumes(spec, external=False), *named_volumes(spec, external=True))
    return bool(volumes or spec.placement.affinity)
