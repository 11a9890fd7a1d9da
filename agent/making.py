"""How a task gets its container: its image, its networks, what runs before it, then the container itself.

What the engine refuses fails the task and is told as a value (`Failed`); only an engine that does not answer is raised.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
import structlog

from agent.desk import Desk
from agent.engine.container import TaskContext, plan_container
from agent.engine.model import ImageInfo
from agent.initing import Failed, Inits, Waiting
from agent.leases import LOOK_EVERY
from agent.local import LocalTask
from agent.network.tasks import Links
from agent.pulling import Needed
from schemas.errors import EngineUnavailable, MeshError
from schemas.spec import TaskSpec

ERROR_WIDTH = 1000
"""Characters kept of an error: a registry or an engine may say anything, and it is stored in several places."""

NO_SPEC = Failed("the assignment does not hold the spec of this task")

log = structlog.get_logger()

T = TypeVar("T")


class Maker:
    """Of one task's container. Every method may raise EngineUnavailable."""

    def __init__(self, desk: Desk, task: str, wake: Callable[[], None]) -> None:
        self._desk = desk
        self._id = task
        self._wake = wake
        self._waits_for = ""
        self._inits = Inits(desk.engine, desk.owner, desk.boot, desk.pulls, desk.brought, wake)

    def must_wait(self, spec: TaskSpec | None) -> bool:
        """Whether its networks are not there yet; says which, once."""
        why = self._links(spec).why
        if why and why != self._waits_for:
            log.info("task.waits", task=self._id, why=why)
        self._waits_for = why or self._waits_for
        return bool(why)

    def _links(self, spec: TaskSpec | None) -> Links:
        return self._desk.networks.links(spec) if spec is not None else Links()

    async def pull(self, task: LocalTask, spec: TaskSpec | None) -> str | Failed | None:
        """The engine's id of its image; None: it is on its way, and the task's worker is woken."""
        if spec is None:
            return NO_SPEC
        result = self._desk.pulls.take(Needed.of(spec.container), self._id, self._wake)
        match result:
            case None:
                return None
            case ImageInfo():
                await self._desk.brought.used(result.id, task.service)
                return result.id
            case EngineUnavailable():
                raise result
            case _:
                return Failed(one_line(result))

    async def prepare(self, task: LocalTask, spec: TaskSpec) -> Waiting | Failed | None:
        """One step of what runs before its container; None: all of that has ended well."""
        links = self._links(spec)
        if links.never:
            return Failed(links.never)
        if task.inits != len(spec.pre_start):
            task = msgspec.structs.replace(task, inits=len(spec.pre_start), inits_boot=self._desk.boot)
            self._desk.ledger.put(task)
            await self._desk.ledger.flush()
        return await self._tried(lambda: self._inits.bring(task, spec, self._context(task, links)))

    async def clear(self, task: LocalTask) -> bool:
        """Whether nothing of what ran before its container is left. Raises MeshError: it may run still."""
        return await self._inits.clear(task)

    async def create(self, task: LocalTask, spec: TaskSpec | None) -> Failed | None:
        """Its container, not started yet."""
        if spec is None:
            return NO_SPEC
        links = self._links(spec)
        if links.never:
            return Failed(links.never)

        async def create() -> None:
            plan = plan_container(spec, self._context(task, links), task.image)
            id_ = await self._desk.engine.create(plan)
            self._desk.created()
            log.debug("task.created", task=task.id, container=id_)

        return await self._tried(create)

    async def start(self, container: str, spec: TaskSpec | None) -> Waiting | Failed | None:
        """Its container runs, on all of its networks. Waiting: its lease has run out while it waited for its turn."""
        links = self._links(spec)
        if links.never:
            return Failed(links.never)

        async def start() -> Waiting | None:
            if links.joins[1:]:
                await self._desk.engine.attach(container, links.joins[1:])
            if spec is not None and self._desk.leases.standing(spec.stop_after) != "free":
                return Waiting(LOOK_EVERY)
            await self._desk.engine.start(container)
            return None

        return await self._tried(start)

    async def _tried(self, work: Callable[[], Awaitable[T]]) -> T | Failed:
        """What comes of it, in one of the agent's slots. A refusal is a value; what nobody foresaw is logged, too."""
        async with self._desk.slots:
            try:
                return await work()
            except EngineUnavailable:
                raise
            except Exception as error:
                if not isinstance(error, MeshError):
                    log.exception("task.step_failed", task=self._id)
                return Failed(one_line(error))

    def _context(self, task: LocalTask, links: Links) -> TaskContext:
        facts = self._desk.facts()
        return TaskContext(
            owner=self._desk.owner,
            task=task.id,
            service=task.service,
            slot=task.slot,
            revision=task.revision,
            spec_hash=task.spec,
            stack=task.stack,
            hostname=facts.hostname,
            os=facts.os,
            architecture=facts.architecture,
            joins=links.joins,
            dns=links.dns,
        )


def one_line(error: Exception) -> str:
    """What is kept of an error: its text and hint, cut."""
    text = " ".join(str(error).split()) or type(error).__name__
    hint = getattr(error, "hint", "")
    return (f"{text} ({hint})" if hint else text)[:ERROR_WIDTH]
