"""Looks for drift once a minute, and when the engine tells of a change; tells it, and replaces if that is asked for."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import msgspec
import structlog

from agent.drift import STOPPED, differences, ended_by_hand, in_words, moved_tag, to_replace
from agent.engine.container import TaskContext, plan_container
from agent.engine.labels import LABEL_TASK
from agent.engine.model import Container, EngineEvent
from agent.engine.port import Engine
from agent.engine.setups import planned_setup
from agent.guards import sleep_unless
from agent.ledger import Ledger
from agent.local import LocalTask
from agent.network.tasks import TaskNetworks
from agent.reconciler import Reconciler
from agent.telling import Teller
from schemas.drift import FILES_TOLD, AskDrift, Difference, Drifted, DriftPolicy, DriftReport, Orphan
from schemas.errors import MeshError, NotFound
from schemas.spec import TaskSpec

EVERY = 60.0
"""Seconds between two looks at all containers."""

SOON = 0.5
"""Seconds after an event of a container: what changed it may change more."""

_CHANGES = frozenset({"pause", "unpause", "other"})
"""Events that tell of no life and no death: an update, a rename."""

log = structlog.get_logger()


class DriftWatch:
    """Of one node."""

    def __init__(
        self, node: str, engine: Engine, ledger: Ledger, reconciler: Reconciler, networks: TaskNetworks, teller: Teller
    ) -> None:
        self._node = node
        self._engine = engine
        self._ledger = ledger
        self._reconciler = reconciler
        self._networks = networks
        self._teller = teller
        self._asked = asyncio.Event()
        self._told: dict[str, tuple[Difference, ...]] = {}
        """By task: what was told last."""
        self._signalled: dict[str, float] = {}
        """By task: when its container got its last signal that this agent did not send."""
        self._stopped: dict[str, DriftPolicy] = {}
        """Tasks whose containers were ended by hand."""
        reconciler.event_listeners.append(self._heard)

    async def run(self) -> None:
        """Look for ever."""
        while True:
            self._asked.clear()
            try:
                await self.look()
            except MeshError as error:
                log.info("drift.not_looked", error=str(error))
            if await sleep_unless(self._asked, EVERY):
                await asyncio.sleep(SOON)

    def _heard(self, event: EngineEvent) -> None:
        if event.action in _CHANGES:
            self._asked.set()
        task = self._ledger.tasks.get(event.labels.get(LABEL_TASK, ""))
        if task is None or task.container != event.container or (spec := self._spec(task)) is None:
            return
        if event.action == "kill":
            self._signalled[task.id] = event.at
        if event.action == "die" and ended_by_hand(
            self._signalled.get(task.id, 0.0), event.at, spec.container.stop_grace
        ):
            self._stopped[task.id] = spec.drift
            self._note(task, spec.drift, (STOPPED,))

    async def look(self) -> tuple[Drifted, ...]:
        """Compare all, and tell what is new. Raises MeshError."""
        found: list[Drifted] = []
        for task in sorted(self._ledger.tasks.values(), key=lambda task: task.id):
            if (policy := self._stopped.get(task.id)) is not None:
                found.append(_drifted(task, policy, (STOPPED,)))
                continue
            if (spec := self._spec(task)) is None:
                continue
            told = await self._compare(task, spec)
            if told:
                found.append(_drifted(task, spec.drift, told))
            if task.id not in self._stopped:
                self._note(task, spec.drift, told)
        self._forget()
        return tuple(found)

    def _forget(self) -> None:
        """What was of tasks that are history."""
        known = self._ledger.tasks
        self._told = {id_: told for id_, told in self._told.items() if id_ in known}
        self._signalled = {id_: at for id_, at in self._signalled.items() if id_ in known}
        self._stopped = {id_: policy for id_, policy in self._stopped.items() if id_ in known}

    def _spec(self, task: LocalTask) -> TaskSpec | None:
        """What the task should be; None: it is not to be compared."""
        wanted = self._reconciler.wanted.get(task.id)
        if wanted is None or wanted.intent != "run" or task.state != "running" or task.verdict:
            return None
        return wanted.spec if wanted.spec is not None and wanted.spec.drift != "ignore" else None

    async def _compare(self, task: LocalTask, spec: TaskSpec) -> tuple[Difference, ...]:
        try:
            seen = await self._engine.setup(task.container)
        except NotFound:
            return ()
        if seen.state not in ("running", "paused"):
            return ()
        links = self._networks.links(spec)
        context = TaskContext(
            self._reconciler.owner, task.id, task.service, task.slot, task.revision, task.spec, joins=links.joins
        )
        wanted = planned_setup(plan_container(spec, context, task.image), links.joins[1:])
        if links.why or links.never:
            wanted = replace(wanted, networks=seen.networks)
        named = await self._engine.image(spec.container.image)
        return (*differences(wanted, seen), *moved_tag(spec.container, task.image, named))

    def _note(self, task: LocalTask, policy: DriftPolicy, found: tuple[Difference, ...]) -> None:
        if found == self._told.get(task.id, ()):
            return
        self._told[task.id] = found
        if not found:
            log.info("task.drift_over", task=task.id)
            return
        why = in_words(found)
        log.warning("task.drifted", task=task.id, service=task.service, why=why)
        self._teller.tell(
            "task.drifted",
            why=why,
            service=task.service,
            task=task.id,
            slot=task.slot,
            container=task.container,
            differences=[msgspec.to_builtins(each) for each in found],
            policy=policy,
        )
        mendable = to_replace(found)
        if policy == "replace" and mendable:
            current = self._ledger.tasks[task.id]
            self._ledger.put(msgspec.structs.replace(current, verdict=f"drifted: {in_words(mendable)}"))
            self._reconciler.wake(task.id)

    async def answer(self, request: AskDrift) -> DriftReport:
        """All that drifted now, with orphans. Raises NotFound, EngineUnavailable."""
        drifted = await self.look()
        files: tuple[str, ...] = ()
        if request.files_of:
            task = self._ledger.tasks.get(request.files_of)
            if task is None or not task.container:
                raise NotFound(f"node {self._node} has no container of task {request.files_of}")
            files = await self._engine.changed_files(task.container)
        compared = sum(self._spec(task) is not None for task in self._ledger.tasks.values())
        return DriftReport(
            node=self._node,
            compared=compared,
            drifted=drifted,
            orphans=self._orphans(),
            files=files[:FILES_TOLD],
            files_total=len(files),
        )

    def _orphans(self) -> tuple[Orphan, ...]:
        left = [(one, "labels of a task, not its name: made from a copy of it") for one in self._reconciler.left_alone]
        gone = [(one, "ran before a task that nobody knows any more") for one in self._reconciler.orphaned]
        return tuple(_orphan(one, why) for one, why in sorted([*left, *gone], key=lambda pair: pair[0].name))


def _drifted(task: LocalTask, policy: DriftPolicy, found: tuple[Difference, ...]) -> Drifted:
    return Drifted(
        task=task.id,
        service=task.service,
        slot=task.slot,
        container=task.container,
        differences=found,
        policy=policy,
    )


def _orphan(container: Container, why: str) -> Orphan:
    return Orphan(container=container.id, name=container.name, state=container.state, why=why)
