"""One agent: all its parts put together over a bus, an engine, files, a clock and chance.

`Agent.run` works until it is cancelled; `Agent.leave` tells the mesh that it goes. Nothing here knows of NATS or of
Docker: the same agent runs in the simulator.
"""

from __future__ import annotations

import asyncio

import structlog

from agent.desk import AT_ONCE, Desk
from agent.drifting import DriftWatch
from agent.engine.labels import Owner
from agent.guards import guarded
from agent.held import HeldDesk
from agent.housekeeping import Housekeeping
from agent.image_requests import ImageDesk
from agent.network.doctor import Doctor, State
from agent.network.model import View
from agent.network.networking import Networking
from agent.network.tasks import NoNetworks
from agent.parts import Parts
from agent.reconciler import Reconciler
from agent.requests import Requests
from agent.succession import Succession
from agent.surroundings import agent_version
from agent.task_logs import TaskLogs
from agent.volumes import VolumeDesk
from schemas.errors import MeshError

LEAVE_WITHIN = 1.0
"""Seconds that a last word may take."""

log = structlog.get_logger()


class Agent(Parts):
    """See the module."""

    async def run(self) -> None:
        """Work until cancelled. Raises OSError: the data directory can't be used at all."""
        await self._load()
        async with asyncio.TaskGroup() as group:
            for name, work in {
                "ledger": self.ledger.run,
                "journal": self.journal.run,
                "membership": self.membership.run,
                "heartbeats": self.heartbeats.run,
                "pulls": self.pulls.run,
                "engine-first": self._look_at_engine_first,
            }.items():
                group.create_task(guarded(name, work), name=name)
            await self.membership.known.wait()
            self._furnish(group)

    async def _load(self) -> None:
        await self.membership.load()
        for part in (self.journal, self.ledger, self.assignments, self.observer, self.brought, self.leases):
            await part.load()
        await self.transfers.clean()
        if self._machine is not None:
            self.surveyor.networking = await self._machine.trouble()
        log.info("agent.loaded", node=self._config.node, tasks=len(self.ledger.tasks))
        self.teller.tell("agent.started", version=agent_version(), adopted=len(self.ledger.tasks))

    async def _look_at_engine_first(self) -> None:
        """Facts for joining; and until the mesh is known the only probe of the engine."""
        while self.reconciler is None:
            try:
                await self.surveyor.look_once()
                self.health.back()
            except MeshError as error:
                self.health.lost(str(error))
            await asyncio.sleep(1.0)
        await asyncio.Event().wait()

    def _furnish(self, group: asyncio.TaskGroup) -> None:
        """The mesh is known: now there is an owner, and work for it."""
        owner = Owner(self.membership.identity.mesh_id, self._config.node)
        networking = self._networking(owner)
        reconciler = self.reconciler = Reconciler(self._desk(owner))
        node, engine, ledger, clock = self._config.node, self._engine, self.ledger, self._clock
        succession = Succession(ledger, reconciler, self.leadership, self.teller, clock)
        housekeeping = Housekeeping(engine, ledger, reconciler, self.brought, self.teller, clock)
        links = networking or NoNetworks(self.surveyor.networking)
        drift = DriftWatch(node, engine, ledger, reconciler, links, self.teller)
        images = ImageDesk(node, engine)
        config = self._config
        held = HeldDesk(
            node,
            config.boot,
            config.labels,
            self.membership,
            self.assignments,
            self.observer,
            self.uptimes,
            lambda: networking.following.view if networking is not None else View(),
            ledger,
            lambda: reconciler.wanted,
        )
        requests = Requests(
            node,
            self._bus.core,
            {
                "image_resolve": images.resolve,
                "image_list": images.list,
                "image_load": self.transfers.take,
                "logs": TaskLogs(node, engine, ledger, reconciler).read,
                "volume_remove": VolumeDesk(node, engine, ledger, reconciler, self.surveyor).remove,
                "assignment": held.read,
                "drift": drift.answer,
                "doctor": self._doctor().examine,
            },
            may_serve=lambda: not self.membership.refused,
        )
        self._connect(reconciler)
        for name, work in {
            "reconciler": reconciler.run,
            "survey": lambda: self.surveyor.run(owner),
            "assignments": self.assignments.run,
            "observer": self.observer.run,
            "preparer": self.preparer.run,
            "readiness": self.readiness.run,
            "succession": succession.run,
            "leases": lambda: self.leases.run(reconciler.lease_lengths, reconciler.refresh),
            "housekeeping": housekeeping.run,
            "drift": drift.run,
            "requests": requests.run,
            **({"networking": networking.run} if networking is not None else {}),
        }.items():
            group.create_task(guarded(name, work), name=name)

    def _networking(self, owner: Owner) -> Networking | None:
        """The networks of this node, if it can have any."""
        if self._machine is None or self.surveyor.networking:
            return None
        networking = self.networking = Networking(
            owner,
            self._engine,
            self._machine,
            self._bus.state,
            self._files,
            self._clock,
            self._chance,
            self.ledger,
            alone=lambda: self.leadership.silent or self.leadership.stuck,
        )
        networking.listeners.append(self.heartbeats.at_once)
        networking.trouble_listeners.append(self.observer.mark)
        networking.address_listeners.append(self.surveyor.ask)
        self.heartbeats.answers.append(networking.heard)
        self.ledger.listeners.append(networking.tasks_changed)
        self.health.listeners.append(networking.look_again)
        return networking

    def _doctor(self) -> Doctor:
        networking = self.networking
        return Doctor(
            self._config.node,
            self._machine,
            self.surveyor.networking,
            networking.state if networking is not None else State,
        )

    def _desk(self, owner: Owner) -> Desk:
        return Desk(
            owner=owner,
            engine=self._engine,
            health=self.health,
            ledger=self.ledger,
            pulls=self.pulls,
            brought=self.brought,
            teller=self.teller,
            clock=self._clock,
            chance=self._chance,
            facts=lambda: self.surveyor.facts,
            readiness=self.readiness,
            leases=self.leases,
            networks=self.networking or NoNetworks(self.surveyor.networking),
            slots=asyncio.Semaphore(AT_ONCE),
            boot=self._config.boot,
            created=self.surveyor.ask,
        )

    def _connect(self, reconciler: Reconciler) -> None:
        """Who tells whom."""

        def obey() -> None:
            held = self.assignments.held
            if self.networking is not None:
                self.networking.obey(held.assignment if held else None)
            self.preparer.obey(held.assignment if held else None)
            reconciler.apply(
                held.assignment if held else None,
                frozen=bool(self.membership.refused),
                confirmed=self.assignments.confirmed,
            )
            self.observer.mark()

        def member_changed() -> None:
            obey()
            if self.membership.confirmed:
                self.assignments.fetch()
                self.observer.send_again()

        obey()
        self.assignments.listeners.append(obey)
        self.assignments.gap_listeners.append(self.observer.send_again)
        self.membership.listeners.append(member_changed)
        self.surveyor.listeners.append(self.observer.mark)
        self.preparer.listeners.append(self.observer.mark)
        self.health.listeners.append(self.observer.mark)
        self.observer.stored_listeners.append(reconciler.forget)
        self.observer.mark()

    async def leave(self) -> None:
        """Say good-bye: containers run on. Called after `run` was cancelled; never raises."""
        self.teller.tell("agent.stopping")
        await self.ledger.flush()
        try:
            async with asyncio.timeout(LEAVE_WITHIN):
                await self.heartbeats.beat(timeout=LEAVE_WITHIN, leaving=True)
                if self.membership.confirmed:
                    await self.journal.send()
        except (MeshError, OSError, TimeoutError) as error:
            log.info("agent.left_silently", error=str(error))
