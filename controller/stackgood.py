"""Which revisions of stacks have come up as a whole: all their services' rollouts were done at the same time. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from controller.changes import DropStackGood, PutStackGood, StackChange
from controller.world import World
from schemas.records import RolloutRecord, StackRecord
from schemas.stacks import STACK_REVISIONS_KEPT, StackGoodRecord


def plan_stacks(
    world: World, services: Collection[str], progress: Mapping[str, RolloutRecord], *, everything: bool
) -> Iterable[StackChange]:
    """What is to be noted of the stacks of `services`, or of all. `progress`: rollouts that this round writes."""
    owners = {world.services[name].record.stack for name in services if name in world.services}
    for name in sorted(world.stacks if everything else owners & world.stacks.keys()):
        stack, noted = world.stacks[name].record, world.stack_good.get(name)
        good = noted.good if noted is not None else ()
        if not stack.removed and good[-1:] != (stack.revision,) and _is_up(world, stack, progress):
            others = tuple(number for number in good if number != stack.revision)
            yield PutStackGood(StackGoodRecord(stack=name, good=(*others, stack.revision)[-STACK_REVISIONS_KEPT:]))
    for name in sorted(world.stack_good):
        if name in world.stacks and world.stacks[name].record.removed:
            yield DropStackGood(name)


def _is_up(world: World, stack: StackRecord, progress: Mapping[str, RolloutRecord]) -> bool:
    """Whether each service of it runs as a whole what the stack says."""
    for name, revision in stack.services.items():
        stored, rollout = world.services.get(name), progress.get(name) or world.rollouts.get(name)
        if stored is None or stored.record.removed or rollout is None:
            return False
        if rollout.phase != "done" or rollout.deploy != stored.record.deploy or rollout.revision != revision:
            return False
    return bool(stack.services)
