"""Why slots wait: asked for one service, answered by deciding about it without writing anything."""

from __future__ import annotations

from controller.decide import decide, survey
from controller.work import slot_key
from controller.world import World


def explain(world: World, service: str, now: float) -> dict[str, str]:
    """Slot -> why it is not (yet) as it should be, in the order of slots. Raises KeyError for an unknown service."""
    if service not in world.services:
        raise KeyError(service)
    works = decide(world, survey(world, now), [service], now).works
    work = next(work for work in works if work.name == service)
    return {slot: work.waits[slot] for slot in sorted(work.waits, key=slot_key)}
