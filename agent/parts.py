"""What an agent is made of, built over a bus, an engine, files, a clock and chance; and what it says of itself.

Nothing here runs: `agent.agent` starts the parts and ties them together.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.assignments import Assignments
from agent.brought import Brought
from agent.engine.port import Engine
from agent.engine_health import EngineHealth
from agent.files import Files
from agent.heartbeats import Heartbeats
from agent.journal import Journal
from agent.leadership import Leadership
from agent.leases import Leases
from agent.ledger import Ledger
from agent.membership import Membership
from agent.network.networking import Networking
from agent.network.port import Machine as NetworkMachine
from agent.observing import Observer
from agent.preparing import Preparer
from agent.pulling import Pulls
from agent.readiness import Readiness
from agent.reconciler import Reconciler
from agent.surroundings import Machine, Surveyor
from agent.telling import Teller
from agent.transfers import Transfers
from agent.uptimes import Uptimes
from agent.wall_clock import WallClock
from agent.wants import to_observe
from bus.port import Bus
from schemas.clock import Clock
from schemas.liveness import NOT_KNOWN, Heartbeat
from schemas.observation import Observation


@dataclass(frozen=True)
class AgentConfig:
    """What the operator says of this agent. `boot`: the kernel's boot id."""

    node: str
    boot: str
    machine: Machine = field(default_factory=Machine)
    labels: Mapping[str, str] = field(default_factory=dict)


class Parts:
    """All that there is before the mesh is known."""

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
        self.uptimes = Uptimes(self.ledger, self.health, clock)
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
            bus,
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
        self.heartbeats.answers.append(self.observer.heard)
        self.reconciler: Reconciler | None = None

    def _obeyed(self) -> tuple[int, int]:
        """What the workers go by: not what was only taken in."""
        held, reconciler = self.assignments.held, self.reconciler
        by = reconciler.assignment if reconciler is not None else None
        return held.applied.pair if held is not None and held.assignment is by else (0, 0)

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
            endpoints_digest=self.networking.digest if self.networking is not None else None,
            networks=self._networks(),
            wall=max(0.0, self._clock.wall()),
        )

    def _networks(self) -> tuple[str, ...]:
        """Networks by which this node may be sending, less those that every node has."""
        if self.networking is None:
            return ()
        return tuple(sorted(self.networking.networks() - self.networking.following.view.everywhere))

    def _endpoints(self) -> int:
        """How far the networks' records hold here."""
        if self._machine is None or self.surveyor.networking:
            return 0
        return max(NOT_KNOWN, self.networking.applied if self.networking is not None else 0)

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
