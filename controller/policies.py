"""Whose words count while a service is updated, rolled back or moved."""

from __future__ import annotations

from controller.world import World
from schemas.records import ServiceRecord, UpdateProgress
from schemas.spec import ServiceSpec, UpdatePolicy


def policy_of(
    world: World, record: ServiceRecord, update: UpdateProgress, own: ServiceSpec | None
) -> UpdatePolicy | None:
    """Of a roll-back those of the revision that is left, else those of the one wanted, `own`; None: not known."""
    left = update.left or (record.back_from if not record.paused else 0)
    leaving = world.revisions.get((record.name, left)) if left else None
    spec = leaving.spec if leaving is not None else own
    if spec is None:
        return None
    return spec.rollback if left else spec.update
