"""service.refresh: tags resolved anew; only services whose image has moved get a new revision.

The services of one stack are changed in one batch. Who can't be asked, or whose nodes disagree, stays as it is and is
told; the others go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from itertools import groupby

from msgspec.structs import replace

from controller import images
from controller.api.composition import Change, compose, members_of, standing
from controller.api.dependents import dragged, members_made
from controller.api.desk import Desk, Draft, not_found
from controller.api.intent import current, current_spec, intend, with_pin
from controller.api.pinning import eligible
from controller.records import Records
from schemas.errors import MeshError
from schemas.refreshapi import RefreshAnswer, Refreshed, RefreshServices
from schemas.serviceapi import ServiceDeploy
from schemas.spec import ServiceSpec

ALWAYS = "always"
"""The pull policy of the question: whoever can asks the registry."""

ASKED_AT_ONCE = 16
"""Images that are asked for at the same time."""


async def refresh(desk: Desk, request: RefreshServices) -> RefreshAnswer:
    """Resolve and write. Raises NotFound, and then changes nothing."""
    await desk.catch_up()
    names = _names(desk, request)
    found = await _resolve(desk, names)
    command, now = desk.command(request.command), desk.clock.wall()
    answers: list[Refreshed] = []
    sequence = desk.mirror.sequence
    for stack, group in groupby(names, key=lambda name: _stack(desk.records, name)):
        for part in [list(group)] if stack else [[name] for name in group]:

            async def draft(stack: str = stack, part: list[str] = part) -> Draft[list[Refreshed]]:
                return _draft(desk.records, stack, part, found, Change(command, now, "changed"))

            told, sequence = await desk.write(draft)
            answers += told
    return RefreshAnswer(sequence=sequence, services=tuple(sorted(answers, key=lambda each: each.service)))


def _names(desk: Desk, request: RefreshServices) -> list[str]:
    """The services that are meant, those of one stack together."""
    here = {name: each.record.stack for name, each in desk.records.services.items() if not each.record.removed}
    if request.stack and standing(desk.records, request.stack) is None:
        known = [name for name in desk.records.stacks if standing(desk.records, name) is not None]
        raise not_found("stack", request.stack, known)
    for name in request.services:
        if name not in here:
            raise not_found("service", name, list(here))
    wanted = request.services or [name for name in here if request.stack in ("", here[name])]
    return sorted(set(wanted), key=lambda name: (here[name], name))


async def _resolve(desk: Desk, names: Iterable[str]) -> dict[str, images.Pin | MeshError]:
    """What the image of each service is now, or why that can't be told; equal questions are asked once."""
    questions = {name: question for name in names if (question := _question(desk, name)) is not None}
    answers: dict[images.Wanted, images.Pin | MeshError] = {}
    room = asyncio.Semaphore(ASKED_AT_ONCE)

    async def ask(question: images.Wanted) -> None:
        async with room:
            try:
                answers[question] = await images.resolve(desk.bus.core, question)
            except MeshError as error:
                answers[question] = error

    async with asyncio.TaskGroup() as group:
        for question in dict.fromkeys(questions.values()):
            group.create_task(ask(question), name=f"refresh {question.image}")
    return {name: answers[question] for name, question in questions.items()}


def _question(desk: Desk, name: str) -> images.Wanted | None:
    """None: there is nothing to ask, since it is named by digest."""
    spec = current_spec(desk.records, name)
    if spec is None or "@" in spec.task.container.image:
        return None
    container = spec.task.container
    return images.Wanted(container.image, container.platform, ALWAYS, eligible(desk, spec))


def _draft(
    records: Records, stack: str, names: list[str], found: Mapping[str, images.Pin | MeshError], change: Change
) -> Draft[list[Refreshed]]:
    """The new revisions of those whose image has moved, and the stack's."""
    told = [
        _answer(records, spec, found.get(name), change.command)
        for name in names
        if (spec := current_spec(records, name)) is not None
    ]
    moved = {each.service: each.after for each in told if each.change == "moved" and not each.revision}
    wanted = [
        ServiceDeploy(spec=with_pin(spec, after))
        for name, after in moved.items()
        if (spec := current_spec(records, name)) is not None
    ]
    intents = [intend(records, each, change.command, change.now) for each in dragged(records, wanted)] if wanted else []
    written = [record for intent in intents for record in intent.records]
    cleared = [record for intent in intents for record in intent.cleared]
    if intents and standing(records, stack) is not None:
        made = members_made(records, intents)
        composed = compose(records, stack, {**members_of(records, stack), **made}, change)
        written += composed.records
        cleared += composed.cleared
    revisions = {intent.deployed.service: intent.deployed.revision for intent in intents}
    told = [replace(each, revision=revisions.get(each.service, each.revision)) for each in told]
    return Draft(told, (*written, *cleared))


def _answer(records: Records, spec: ServiceSpec, pin: images.Pin | MeshError | None, command: str) -> Refreshed:
    """What there is to say. Moved with `revision` 0: that is still to be written."""
    record, container = current(records, spec.name), spec.task.container
    known = Refreshed(
        service=spec.name,
        image=container.image,
        change="same",
        before=container.image_id,
        after=container.image_id,
        revision=record.target if record is not None else 0,
    )
    if record is not None and record.cause == command:  # asked once more, and done already
        return replace(known, change="moved")
    if pin is None:
        return replace(known, change="fixed")
    if isinstance(pin, MeshError):
        return replace(known, change="unknown", why=pin.message)
    if not pin.image_id:
        return replace(known, change="unknown", why="; ".join(pin.warnings))
    if pin.image_id == container.image_id:
        return known
    return replace(known, change="moved", after=pin.image_id, revision=0)


def _stack(records: Records, name: str) -> str:
    record = current(records, name)
    return record.stack if record is not None else ""
