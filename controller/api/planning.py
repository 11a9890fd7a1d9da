"""stack.plan: what a deploy would do, told without doing it.

The records are drafted as the deploy would write them, and the leader's own `plan` is played on a copy of what this
controller's mirror shows (`controller.whatif`).
"""

from __future__ import annotations

import asyncio
import dataclasses

from controller.api.desk import Desk
from controller.api.foundations import base_of
from controller.api.intent import current, current_spec
from controller.api.stacks import StackDraft, draft_stack, prepare_stack
from controller.records import Records
from controller.whatif import Foresight, foresee
from schemas.planapi import PlannedService, PlanStack, StackPlan
from schemas.serviceapi import Deployed, ServiceDeploy
from schemas.spec import ServiceSpec
from schemas.stackapi import DeployStack

LOOKED_AHEAD = 5.0
"""Seconds of deciding, after which the rest is left out."""


async def plan_stack(desk: Desk, request: PlanStack) -> StackPlan:
    """What stack.deploy would do now. Raises what it would raise."""
    await desk.catch_up()
    asked = DeployStack(
        stack=request.stack,
        services=request.services,
        networks=request.networks,
        prune=request.prune,
        resolve_image=request.resolve_image,
    )
    pinned, warnings = await prepare_stack(desk, asked)
    drafted = draft_stack(desk, asked, pinned, "plan", desk.clock.wall())
    ahead = await _look_ahead(desk, drafted)
    both = zip(drafted.services, drafted.wanted, strict=True)
    services = [_service(desk.records, deployed, wanted, ahead) for deployed, wanted in both]
    services += [_removed(desk.records, name) for name in drafted.pruned]
    here = desk.records.networks
    return StackPlan(
        stack=request.stack,
        sequence=desk.records.sequence,
        services=tuple(services),
        networks=tuple(
            each.name for each in request.networks if each.name not in here or here[each.name].record.removed
        ),
        starts=ahead.starts if ahead is not None else (),
        ends=ahead.ends if ahead is not None else (),
        whole=ahead is None or ahead.settled,
        warnings=tuple(warnings),
        wanted=tuple(pinned),
        base=base_of(desk.records, asked),
    )


async def _look_ahead(desk: Desk, drafted: StackDraft) -> Foresight | None:
    """None: nothing would be changed."""
    changed = {each.service for each in drafted.services if each.change != "unchanged"} | set(drafted.pruned)
    if not changed:
        return None
    world = dataclasses.replace(desk.leader.world(), epoch=desk.records.epoch[0])
    ahead = foresee(world, drafted.records, changed, desk.records.at)
    until = desk.clock.monotonic() + LOOKED_AHEAD
    while ahead.step():
        if desk.clock.monotonic() >= until:
            break
        await asyncio.sleep(0)  # the others of this process have their turn
    return ahead


def _service(records: Records, deployed: Deployed, wanted: ServiceDeploy, ahead: Foresight | None) -> PlannedService:
    old = current(records, deployed.service)
    before = old.replicas if old is not None else 0
    replicas = wanted.replicas if wanted.replicas is not None else before or 1
    return PlannedService(
        service=deployed.service,
        change=deployed.change,
        before=current_spec(records, deployed.service),
        after=wanted.spec,
        revision_before=old.target if old is not None else 0,
        revision=deployed.revision,
        replicas_before=before,
        replicas=replicas,
        waits=ahead.waits(deployed.service) if ahead is not None and deployed.change != "unchanged" else (),
    )


def _removed(records: Records, name: str) -> PlannedService:
    record = records.services[name].record
    before: ServiceSpec | None = current_spec(records, name)
    return PlannedService(
        service=name,
        change="removed",
        before=before,
        revision_before=record.target,
        replicas_before=record.replicas,
    )
