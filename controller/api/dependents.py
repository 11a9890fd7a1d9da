"""What an update of a service drags along: dependents that asked for it (depends_on with `restart: true`). Pure.

A dependent's tasks are replaced by raising `force`, which makes a revision of it like any other: gated until the
dependency has got where it must be, rolled as its own policy says. `force` never falls by a deploy of a file.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from controller.api.intent import Intent, current, current_spec
from controller.records import Records
from schemas.errors import Refused
from schemas.serviceapi import ServiceDeploy
from schemas.spec import ServiceSpec
from schemas.stacks import StackMember


def dragged(records: Records, wanted: Sequence[ServiceDeploy], going: Collection[str] = ()) -> list[ServiceDeploy]:
    """The wanted services with those that their changes replace, too; the ones wanted first, in their order.

    Those that are `going` (to be removed by the same command) are left alone.
    """
    ours = {each.spec.name: _with_force(each, current_spec(records, each.spec.name)) for each in wanted}
    replaced = {name for name, each in ours.items() if _is_replaced(records, each.spec)}
    standing = {
        name: ServiceDeploy(spec=spec)
        for name in sorted(records.services)
        if name not in ours
        and name not in going
        and (spec := current_spec(records, name)) is not None
        and spec.depends_on
    }
    everyone = {**ours, **standing}
    while follower := next((each for each in everyone.values() if _follows(records, each.spec, replaced)), None):
        name = follower.spec.name
        everyone[name] = _forced(follower, follower.spec.task.force + 1)
        replaced.add(name)
    return [each for name, each in everyone.items() if name in ours or name in replaced]


def members_made(records: Records, intents: Sequence[Intent]) -> dict[str, StackMember]:
    """What dragged services are in their stack from now on."""
    return {
        intent.deployed.service: StackMember(revision=intent.deployed.revision, replicas=record.replicas)
        for intent in intents
        if (record := current(records, intent.deployed.service)) is not None
    }


def check_circles(specs: Sequence[ServiceSpec]) -> None:
    """Raises Refused: services wait for each other, so that none would ever start."""
    waits = {spec.name: [each.service for each in spec.depends_on] for spec in specs}
    while free := [name for name, others in waits.items() if not any(other in waits for other in others)]:
        waits = {name: others for name, others in waits.items() if name not in free}
    if waits:
        raise Refused(f"services wait for each other in a circle: {', '.join(sorted(waits))}", hint="see depends_on")


def _with_force(each: ServiceDeploy, before: ServiceSpec | None) -> ServiceDeploy:
    if before is None or before.task.force <= each.spec.task.force:
        return each
    return _forced(each, before.task.force)


def _forced(each: ServiceDeploy, force: int) -> ServiceDeploy:
    task = msgspec.structs.replace(each.spec.task, force=force)
    return msgspec.structs.replace(each, spec=msgspec.structs.replace(each.spec, task=task))


def _is_replaced(records: Records, spec: ServiceSpec) -> bool:
    before = current_spec(records, spec.name)
    return before is not None and before.task.hash != spec.task.hash


def _follows(records: Records, spec: ServiceSpec, replaced: set[str]) -> bool:
    asked = any(each.restart and each.service in replaced for each in spec.depends_on)
    return asked and spec.name not in replaced and current(records, spec.name) is not None
