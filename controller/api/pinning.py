"""Images of wanted services pinned before they are written: by asking nodes, or as they are pinned now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec

from controller import images
from controller.api.checks import node_views
from controller.api.desk import Desk
from controller.api.intent import current_spec, with_pin
from controller.constraints import platform_fits, satisfied
from schemas.errors import Refused
from schemas.serviceapi import ServiceDeploy
from schemas.spec import ServiceSpec

POLICIES = ("always", "changed", "never", "pinned")


async def pin_all(desk: Desk, wanted: Sequence[ServiceDeploy], policy: str) -> tuple[list[ServiceDeploy], list[str]]:
    """The wanted services with pinned images, and warnings.

    `policy` as docker stack deploy has it: always ask; ask when the image's name has changed; never ask. Or "pinned":
    they are as they are to be.

    Raises:
        ImageUnavailable: no node can get an image.
        Refused: nodes hold different images under one name; or there is no such policy.
    """
    if policy not in POLICIES:
        raise Refused(f"resolve_image is {policy!r}; it may be {', '.join(POLICIES)}")
    if policy == "pinned":
        return list(wanted), []
    before = {each.spec.name: current_spec(desk.records, each.spec.name) for each in wanted}
    specs = [each.spec for each in wanted]
    asked = {spec.name: _question(desk, spec) for spec in specs if _to_ask(spec, before[spec.name], policy)}
    asked |= {
        _key(spec, image): replace(_question(desk, spec), image=image)
        for spec in specs
        for image in _images_before(spec)
        if policy == "always" or (policy == "changed" and image not in _pins_before(before[spec.name]))
    }
    pins = await images.resolve_all(desk.bus.core, asked)
    warnings: list[str] = []
    pinned: list[ServiceDeploy] = []
    for each in wanted:
        pin = pins.get(each.spec.name, images.Pin())
        warnings += [warning for warning in pin.warnings if warning not in warnings]
        image_id = pin.image_id or _kept(each.spec, before[each.spec.name])
        spec = with_pin(each.spec, image_id)
        own = _pins_before(before[each.spec.name])
        for image in _images_before(spec):
            pin = pins.get(_key(spec, image), images.Pin())
            warnings += [warning for warning in pin.warnings if warning not in warnings]
            own[image] = pin.image_id or own.get(image, "")
        pinned.append(msgspec.structs.replace(each, spec=_with_pins_before(spec, own)))
    return pinned, warnings


def _images_before(spec: ServiceSpec) -> tuple[str, ...]:
    """Images of what runs before its tasks, other than the service's own."""
    found = {step.image for step in spec.task.pre_start} - {"", spec.task.container.image}
    return tuple(sorted(found))


def _pins_before(spec: ServiceSpec | None) -> dict[str, str]:
    """Image -> its pin there."""
    return {step.image: step.image_id for step in spec.task.pre_start if step.image_id} if spec is not None else {}


def _with_pins_before(spec: ServiceSpec, pins: Mapping[str, str]) -> ServiceSpec:
    if not spec.task.pre_start:
        return spec
    named = _images_before(spec)
    steps = tuple(
        msgspec.structs.replace(step, image_id=pins.get(step.image, "") if step.image in named else "")
        for step in spec.task.pre_start
    )
    return msgspec.structs.replace(spec, task=msgspec.structs.replace(spec.task, pre_start=steps))


def _key(spec: ServiceSpec, image: str) -> str:
    return f"{spec.name} before: {image}"


def _to_ask(spec: ServiceSpec, before: ServiceSpec | None, policy: str) -> bool:
    changed = before is None or before.task.container.image != spec.task.container.image
    return policy == "always" or (policy == "changed" and changed)


def _kept(spec: ServiceSpec, before: ServiceSpec | None) -> str:
    """The pin that an image has already, as long as its name stays."""
    if before is not None and before.task.container.image == spec.task.container.image:
        return before.task.container.image_id
    return ""


def _question(desk: Desk, spec: ServiceSpec) -> images.Wanted:
    container = spec.task.container
    return images.Wanted(container.image, container.platform, container.pull_policy, eligible(desk, spec))


def eligible(desk: Desk, spec: ServiceSpec) -> tuple[str, ...]:
    """The nodes that may come to run it: members not down, open ones first."""
    records = desk.records
    down = {name for name, verdict in records.liveness.items() if verdict.verdict == "down"}
    fitting = [
        view
        for view in node_views(records, desk.mirror.observations)
        if view.name not in down
        and platform_fits(spec.task.container.platform, view.facts)
        and all(satisfied(constraint, view) for constraint in spec.task.placement.constraints)
    ]
    closed = {view.name for view in fitting if view.record is not None and view.record.availability != "active"}
    silent = {view.name for view in fitting if view.observation is None or view.observation.engine}
    return tuple(sorted((view.name for view in fitting), key=lambda name: (name in closed, name in silent, name)))
