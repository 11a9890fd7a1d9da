"""One worker per task: looks, asks `agent.tasks.next_step`, does it, and again until there is nothing to do.

The engine's events only wake it. What it believes about the container is looked up anew whenever something may have
changed it. No failure of one task's step reaches another task.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import assert_never

import msgspec
import structlog

from agent.desk import Desk
from agent.engine.labels import LABEL_TASK
from agent.engine.model import Container
from agent.engine.plans import LogQuery
from agent.guards import sleep_unless
from agent.initing import Failed, Waiting
from agent.local import LocalTask
from agent.making import Maker
from agent.postmortem import log_tail, post_mortem
from agent.steps import Create, Kill, Nothing, Pull, Remove, Report, Start, Step, Stop, Wait
from agent.tasks import LAPSED, Tries, failed, next_step, pulled
from agent.wants import KEEP, Wanted
from schemas.assignment import container_name
from schemas.errors import EngineUnavailable, MeshError, NotFound
from schemas.nodeapi import LogLine
from schemas.postmortem import POST_MORTEM_LINES
from schemas.spec import TaskSpec

LINK_LOOK, STOP_LOOK = 0.1, 0.05
"""Seconds until it is looked again whether a container may be made on its networks, or may be stopped."""

RETRY_FIRST, RETRY_MOST = 0.5, 10.0

CLEAR_AGAIN = 10.0
"""Seconds until what ran before a task, and could not be removed, is tried again."""

IDLE = 3600.0
"""Seconds that a worker sleeps when it has nothing to do: the list of all containers wakes it, if nothing else does."""

log = structlog.get_logger()


class Worker:
    """Brings one task to where it is wanted."""

    def __init__(self, desk: Desk, task: str, view: Container | None) -> None:
        self._desk = desk
        self._id = task
        self._view = view
        self._stale = False
        self._tries = Tries(boot=desk.boot)
        self._failures = 0
        self._clear_at = 0.0
        self._wake = asyncio.Event()
        self._wanted: Wanted = KEEP
        self._epoch = 0
        self._maker = Maker(desk, task, self.wake)

    def want(self, wanted: Wanted, *, epoch: int) -> None:
        """What is to become of the task, by the assignment of that epoch."""
        changed = wanted != self._wanted
        self._wanted, self._epoch = wanted, epoch
        if changed:
            self.wake()

    def wake(self) -> None:
        """There may be something to do."""
        self._wake.set()

    def look_again(self) -> None:
        """Something may have happened to the container."""
        self._stale = True
        self._wake.set()

    def listed(self, container: Container | None) -> None:
        """A list of all containers shows this; it may be older than what is known here."""
        if container != self._view:
            self.look_again()

    async def run(self) -> None:
        """Work until the task is forgotten."""
        while self._id in self._desk.ledger.tasks:
            wait = await self._cycle_safely()
            await sleep_unless(self._wake, wait)
        self._desk.readiness.leave(self._id)

    async def _cycle_safely(self) -> float:
        """One step; the seconds until the next one, if nothing wakes it earlier."""
        self._wake.clear()
        await self._desk.health.usable()
        try:
            wait = await self._cycle()
        except EngineUnavailable as error:
            log.warning("task.engine_silent", task=self._id, error=str(error))
            self._desk.health.suspect()
            return self._retry()
        except Exception as error:
            if not isinstance(error, MeshError):
                log.exception("task.step_failed", task=self._id)
            else:
                log.warning("task.step_failed", task=self._id, error=str(error))
            return self._retry()
        return wait

    def _retry(self) -> float:
        self._stale = True
        self._failures += 1
        pause = min(RETRY_MOST, RETRY_FIRST * 2.0 ** min(self._failures, 10)) * self._desk.chance.uniform(0.5, 1.0)
        self._tries = replace(self._tries, not_before=self._desk.clock.monotonic() + pause)
        return pause

    async def _cycle(self) -> float:
        task = self._desk.ledger.tasks.get(self._id)
        if task is None:
            return 0.0
        if self._are_over(task) and await self._clear_inits(task):
            return 0.0
        if self._stale:
            self._view = await self._look(task)
            task = self._desk.ledger.tasks.get(self._id, task)  # somebody may have noted a verdict meanwhile
        now = self._desk.clock.monotonic()
        step = next_step(self._wanted.intent, task, self._checked(task), self._tries, now)
        match step:
            case Nothing():
                return CLEAR_AGAIN if task.inits else IDLE
            case Wait(until=until):
                return until - now
            case Pull():
                return await self._pull(task)
            case Create() | Start() if self._maker.must_wait(self._wanted.spec):
                return LINK_LOOK
            case Create() if self._wanted.spec is not None and self._wanted.spec.pre_start:
                return await self._prepare(task, self._wanted.spec)
            case Stop(grace=grace) if self._stop_must_wait(task, grace):
                return STOP_LOOK
            case _:
                log.info("task.step", task=self._id, service=task.service, step=step.describe())
                await self._do(step, task)
                self._failures = 0
                return 0.0

    async def _do(self, step: Step, task: LocalTask) -> None:
        engine = self._desk.engine
        match step:
            case Report(task=news):
                await self._note(task, news)
            case Create():
                await self._create(task)
            case Start(container=container):
                await self._start(task, container)
            case Stop(container=container, grace=grace):
                self._changing(stops=1)
                try:
                    await engine.stop(container, grace=self._desk.leases.grace_left(self._stop_after(task), grace))
                except EngineUnavailable:
                    self._changing(stops=-1)
                    raise
            case Kill(container=container):
                self._changing()
                await engine.kill(container)
            case Remove(container=container):
                self._changing()
                await engine.remove(container)
            case Pull() | Wait() | Nothing():
                raise AssertionError("not done here")
            case _:
                assert_never(step)

    def _stop_must_wait(self, task: LocalTask, grace: float) -> bool:
        """For the networks; in a new process for an answer, which tells how much of the grace is left."""
        if self._wanted.intent == "cease" or task.verdict == LAPSED:
            return False
        held = self._desk.leases.standing(self._stop_after(task)) == "held"
        return held or not self._desk.networks.may_stop(self._id, grace)

    def _stop_after(self, task: LocalTask) -> float:
        return self._wanted.spec.stop_after if self._wanted.spec is not None else task.stop_after

    def _checked(self, task: LocalTask) -> Container | None:
        """The container as it was seen last, with what this agent's own check says of it."""
        view, spec = self._view, self._wanted.spec
        if view is None or view.state != "running" or spec is None or spec.container.ready is None:
            self._desk.readiness.leave(self._id)
            return view
        return replace(view, not_ready=self._desk.readiness.why_not(task, view, spec.container.ready, self.wake))

    def _are_over(self, task: LocalTask) -> bool:
        """Whether what was made to run before the task's container has nothing more to do."""
        if not task.inits or self._wanted.intent == "keep":
            return False
        return task.ended or bool(task.container) or self._wanted.intent == "end"

    async def _clear_inits(self, task: LocalTask) -> bool:
        """Whether anything was done. One that can't be removed is tried again later, and holds nothing else up."""
        now = self._desk.clock.monotonic()
        if now < self._clear_at:
            return False
        if await self._maker.clear(task):
            await self._note(task, msgspec.structs.replace(task, inits=0))
        else:
            self._clear_at = now + CLEAR_AGAIN
        return True

    async def _prepare(self, task: LocalTask, spec: TaskSpec) -> float:
        """What runs before the task's container, then that."""
        result = await self._maker.prepare(task, spec)
        task = self._desk.ledger.tasks.get(self._id, task)
        match result:
            case Waiting(seconds=seconds):
                return seconds
            case Failed():
                await self._note_failure(task, result)
            case None:
                await self._create(task)
        return 0.0

    async def _create(self, task: LocalTask) -> None:
        self._changing()
        await self._note_failure(task, await self._maker.create(task, self._wanted.spec))

    async def _start(self, task: LocalTask, container: str) -> None:
        self._changing()
        result = await self._maker.start(container, self._wanted.spec)
        if isinstance(result, Waiting):
            self._tries = replace(self._tries, not_before=self._desk.clock.monotonic() + result.seconds)
        else:
            await self._note_failure(task, result)

    async def _note_failure(self, task: LocalTask, failure: Failed | None) -> None:
        if failure is not None:
            await self._note(task, failed(task, failure.why), log_of=failure.container)

    def _changing(self, *, stops: int = 0) -> None:
        self._stale = True
        self._tries = replace(self._tries, stops=self._tries.stops + stops)

    async def _look(self, task: LocalTask) -> Container | None:
        """The task's container as the engine has it now. A foreign one of that name does not count."""
        self._stale = False
        name = task.container or container_name(task.service, task.slot, task.id)
        try:
            found = await self._desk.engine.inspect(name)
        except NotFound:
            return None
        except BaseException:
            self._stale = True
            raise
        ours = self._desk.owner.owns(found.labels) and found.labels.get(LABEL_TASK) == task.id
        return found if ours else None

    async def _pull(self, task: LocalTask) -> float:
        found = await self._maker.pull(task, self._wanted.spec)
        match found:
            case None:
                return IDLE
            case Failed():
                await self._note_failure(task, found)
            case image:
                await self._note(task, pulled(task, image))
        return 0.0

    async def _note(self, before: LocalTask, news: LocalTask, *, log_of: str = "") -> None:
        """The task is so now: in the ledger, in the observation and as events. `log_of`: another container's words."""
        if news.state != before.state:
            news = msgspec.structs.replace(news, since=self._desk.clock.wall())
        why = self._wanted.task.why if self._wanted.task else ""
        if news.ended and not before.ended:
            words_of = log_of or news.container
            lines = await self._last_lines(words_of) if words_of else ()
            news = msgspec.structs.replace(news, log_tail=log_tail(lines))
            found = post_mortem(news, self._view, self._wanted.spec, self._desk.owner.node, lines)
            self._desk.teller.tell_post_mortem(news, found, epoch=self._epoch, why=why)
        self._desk.teller.tell_task(before, news, epoch=self._epoch, why=why)
        self._desk.ledger.put(news)
        if news.verdict != before.verdict:
            await self._desk.ledger.flush()

    async def _last_lines(self, container: str) -> tuple[LogLine, ...]:
        try:
            query = LogQuery(tail=POST_MORTEM_LINES, limit=POST_MORTEM_LINES)
            return (await self._desk.engine.logs(container, query)).lines
        except MeshError as error:
            log.info("task.log_not_read", task=self._id, error=str(error))
            return ()
