"""One agent: all its parts put together over a bus, an engine, files, a clock and chance.

`Agent.run` works until it is cancelled; `Agent.leave` tells the mesh that it goes. Nothing here knows of NATS or of
Docker: the same agent runs in the simulator.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog

from agent.assignments import Assignments
from agent.brought import Brought
from agent.desk import AT_ONCE, Desk
from agent.drifting import DriftWatch
from agent.engine.labels import Owner
from agent.engine.port import Engine
from agent.engine_health import EngineHealth
from agent.files import Files
from agent.guards import guarded
from agent.heartbeats import Heartbeats
from agent.held import HeldDesk
from agent.housekeeping import Housekeeping
from agent.image_requests import ImageDesk
from agent.journal import Journal
from agent.leadership import Leadership
from agent.leases import Leases
from agent.ledger import Ledger
from agent.membership import Membership
from agent.network.doctor import Doctor, State
from agent.network.networking import Networking
from agent.network.port import Machine as NetworkMachine
from agent.network.tasks import NoNetworks
from agent.observing import Observer
from agent.preparing import Preparer
from agent.pulling import Pulls
from agent.readiness import Readiness
from agent.reconciler import Reconciler
from agent.requests import Requests
from agent.succession import Succession
from agent.surroundings import Machine, Surveyor, agent_version
from agent.task_logs import TaskLogs
from agent.telling import Teller
from agent.transfers import Transfers
from agent.volumes import VolumeDesk
from agent.wall_clock import WallClock
from agent.wants import to_observe
from bus.port import Bus
from schemas.clock import Clock
from schemas.errors import MeshError
from schemas.liveness import Heartbeat
from schemas.observation import Observation

LEAVE_WITHIN = 1.0
"""Seconds that a last word may take."""

log = structlog.get_logger()


@dataclass(frozen=True)
class AgentConfig:
    """What the operator says of this agent. `boot`: the kernel's boot id."""

    node: str
    boot: str
    machine: Machine = field(default_factory=Machine)
    labels: Mapping[str, str] = field(default_factory=dict)


class Agent:
    """See the module."""

    def __init__(
        self,
        config: AgentConfig,
        bus: Bus,
        engine: Engine,
        files: Files,
        clock: Clock,
        chance: random.Random,
        machine: NetworkMachine | None = None,
    ) -> None:
        """`machine`: what networks of the mesh are made with; None: this node has none."""
        self._config = config
        self._bus = bus
        self._engine = engine
        self._files = files
        self._clock = clock
        self._chance = chance
        node = config.node
        self._machine = machine
        self.networking: Networking | None = None
        self.surveyor = Surveyor(engine, config.machine, machine)
        self.membership = Membership(
            node, bus.core, files, chance, boot=config.boot, labels=config.labels, facts=lambda: self.surveyor.facts
        )
        self.journal = Journal(node, files, bus.events, clock, may_send=lambda: self.membership.confirmed)
        self.teller = Teller(node, self.journal, clock)
        self.ledger = Ledger(files, self.journal)
        self.health = EngineHealth(self.teller, clock)
        self.brought = Brought(files, clock)
        self.pulls = Pulls(engine, self.teller, self.brought, clock)
        self.readiness = Readiness(engine)
        self.preparer = Preparer(self.pulls, self.brought)
        self.transfers = Transfers(engine, files, self.brought, self.teller, clock)
        self.leadership = Leadership(clock)
        self.assignments = Assignments(node, bus.state, files, chance, may_obey=lambda: self.membership.confirmed)
        self.observer = Observer(
            bus.observed, files, self.ledger, self.membership, self.leadership, clock, chance, compose=self._observation
        )
        self.heartbeats = Heartbeats(
            bus.core,
            self.membership,
            self.leadership,
            self.assignments,
            self.health,
            clock,
            chance,
            compose=self._heartbeat,
        )
        self.heartbeats.answers.append(WallClock(self.teller, clock).heard)
        self.leases = Leases(files, self.leadership, clock, config.boot, obeyed=self._obeyed)
        self.heartbeats.answers.append(self.leases.heard)
        self.reconciler: Reconciler | None = None

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

    def _obeyed(self) -> tuple[int, int]:
        """What the workers go by: not what was only taken in."""
        held, reconciler = self.assignments.held, self.reconciler
        by = reconciler.assignment if reconciler is not None else None
        return held.applied.pair if held is not None and held.assignment is by else (0, 0)

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
        held = HeldDesk(node, config.boot, config.labels, self.membership, self.assignments, self.observer)
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
            "leases": lambda: self.leases.run(reconciler.specs, reconciler.refresh),
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
            created=self.surveyor.ask,
        )

    def _connect(self, reconciler: Reconciler) -> None:
        """Who tells whom."""

        def obey() -> None:
            held = self.assignments.held
            if self.networking is not None:
                self.networking.obey(held.assignment if held else None)
            self.preparer.obey(held.assignment if held else None)
            reconciler.apply(held.assignment if held else None, frozen=bool(self.membership.refused))
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

    def _heartbeat(self, count: int) -> Heartbeat:
        return Heartbeat(
            node=self._config.node,
            instance=self.membership.identity.instance,
            boot=self._config.boot,
            count=count,
            applied=self.assignments.applied,
            observed=self.observer.stored,
            engine=self.health.trouble,
            untold=self.observer.trouble,
            endpoints=self._endpoints(),
            wall=max(0.0, self._clock.wall()),
        )

    def _endpoints(self) -> int:
        """How far the networks' records hold here; 1: not known (yet), so that others wait for this node."""
        if self._machine is None or self.surveyor.networking:
            return 0
        return max(1, self.networking.applied if self.networking is not None else 0)

    def _observation(self, counter: int) -> Observation:
        reconciler = self.reconciler
        tasks = to_observe(self.ledger.tasks.values(), reconciler.wanted) if reconciler else ()
        return Observation(
            node=self._config.node,
            instance=self.membership.identity.instance,
            boot=self._config.boot,
            counter=counter,
            applied=self.assignments.applied,
            tasks=tuple(task.observed() for task in tasks),
            volumes=self.surveyor.volumes,
            prepared=dict(sorted(self.preparer.prepared.items())),
            ports_taken=self.surveyor.ports_taken,
            facts=self.surveyor.facts,
            engine=self.health.trouble,
            troubles=dict(self.networking.state().troubles) if self.networking is not None else {},
            at=max(0.0, self._clock.wall()),
        )

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
