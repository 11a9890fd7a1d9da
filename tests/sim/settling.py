"""How a story ends: in time the mesh is as it is wanted, and then quiet."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from schemas import subjects
from schemas.errors import MeshError
from schemas.memberapi import UpdateNode
from schemas.records import NodeRecord, RevisionRecord, RolloutRecord, ServiceRecord
from schemas.revisionapi import PauseServices, RollbackService
from schemas.serviceapi import PutService, ServiceDeploy
from schemas.wire import decode
from tests.sim.invariants import Violated, Watchman, records, unsettled
from tests.sim.networks import unsettled_networks
from tests.sim.wares import BAD, ENDING, GOOD, with_image
from tests.sim.world import World

SETTLE = 240.0
"""Virtual seconds within which the mesh must be as wanted once faults end: the longest back-off and then some."""

CALM = 20.0
"""Virtual seconds of calm, in which no controller deals with a request either: something may still be on its way."""

GIVES_UP = 60.0
"""Virtual seconds after which people put right what they have deployed wrongly."""

API = subjects.API_ALL.removesuffix(">")

QUIET = 16.0
"""Virtual seconds for which nothing may be stored after that, but for the cursor of told events."""


async def settle(world: World, more: Callable[[], str] = lambda: "") -> None:
    """Wait until all is as it is wanted, and stays so. Raises Violated after `SETTLE` seconds.

    `more`: what else is not yet as it should be; "" if all is.
    """
    began, why = world.now, "?"
    calm_since: float | None = None
    while world.now < began + SETTLE:
        await _let_go_on(world)
        if world.now > began + GIVES_UP:
            await _put_right(world)
        why = unsettled(world, ENDING) or _converging(world) or unsettled_networks(world) or _asked() or more()
        calm_since = None if why else (calm_since or world.now)
        if calm_since is not None and world.now - calm_since > CALM:
            return
        await asyncio.sleep(0.25)
    raise Violated(f"not settled {SETTLE:.0f} s after the last fault: {why}")


async def _let_go_on(world: World) -> None:
    """Canaries, and services and nodes that are paused or drained, would wait for ever, as they should; a request that
    nobody heard the answer of may have made one late."""
    for record in records(world).values():
        if isinstance(record, RolloutRecord) or record.removed:
            continue
        with contextlib.suppress(MeshError):
            if isinstance(record, NodeRecord) and record.availability != "active":
                await world.ask("node.update", UpdateNode(node=record.name, availability="active"), timeout=10.0)
            elif isinstance(record, ServiceRecord) and record.canary:
                await world.ask("service.rollback", RollbackService(service=record.name, canary=True), timeout=10.0)
            elif isinstance(record, ServiceRecord) and record.paused:
                await world.ask("service.pause", PauseServices(services=(record.name,), paused=False), timeout=10.0)


async def _put_right(world: World) -> None:
    """People see that a revision fails for ever, and deploy one that does not; or that a fault made an update fail,
    which then waits for them beside tasks of a revision that may fail for ever."""
    entries = world.broker.state.existing().entries
    for record in list(records(world).values()):
        if isinstance(record, RolloutRecord) and record.service not in ENDING:
            entry = entries.get(f"revision.{record.service}.{record.revision}")
            revision = decode(entry.value, RevisionRecord) if entry is not None and entry.value is not None else None
            image = revision.spec.task.container.image if revision is not None else ""
            if revision is not None and (image == BAD or record.phase == "failed"):
                good = with_image(revision.spec, GOOD[1] if image == GOOD[0] else GOOD[0])
                world.say(f"put {record.service} right")
                with contextlib.suppress(MeshError):
                    request = PutService(service=ServiceDeploy(spec=good), create=False)
                    await world.ask("service.put", request, timeout=10.0)


def _converging(world: World) -> str:
    """Which rollouts are still under way: a slow one replaces its slots one after the other; "" if none is."""
    stored = records(world).values()
    under_way = {each.service for each in stored if isinstance(each, RolloutRecord) and each.phase == "converging"}
    return ", ".join(sorted(under_way - ENDING)) + " converging" if under_way - ENDING else ""


def _asked() -> str:
    """Which requests controllers deal with (`controller.api.server` names a task after each); "" if none is.

    People here give up, but set no bound (`Command.until`): what a controller that was stopped takes up late, and what
    waits for a node's answer about an image that a fault lost (`controller.images.ANSWER_WITHIN`, once for each three
    nodes), is carried out all the same.
    """
    names = {task.get_name() for task in asyncio.all_tasks()}
    held = sorted(name for name in names if name.startswith(API))
    return f"{', '.join(held)} still dealt with" if held else ""


async def quiet(world: World, watchman: Watchman) -> None:
    """Nothing is stored any more. Raises Violated."""
    await asyncio.sleep(8)
    before, restless = watchman.stored, _restless(world)
    await asyncio.sleep(QUIET)
    if watchman.stored > before and not restless and not _restless(world):
        raise Violated(f"{watchman.stored - before} batches were stored in {QUIET:.0f} s in which nothing happened")


def _restless(world: World) -> bool:
    """Whether a service stands whose tasks end by themselves (a request nobody answered may have been stored late)."""
    standing = {record.name: record for record in records(world).values() if isinstance(record, ServiceRecord)}
    return bool(standing.keys() & ENDING)
