"""Brings this machine's networks to what the leader's records say, and tells how far it has come.

One loop: records or tasks have changed -> what is wanted (`model.wanted`) -> steps on links (`steps.steps_to`), one
change of the rules (`rules.change`), names. The first rules of a process replace the whole table in one transaction, so
that whatever an earlier process left half done is mended and no connection notices. `applied` rises only after that.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace

import structlog

from agent.engine.labels import Owner
from agent.engine.plans import Join
from agent.engine.port import Engine
from agent.files import Files
from agent.guards import guarded, sleep_unless
from agent.ledger import Ledger
from agent.network import rules
from agent.network.doctor import State
from agent.network.entries import digest, networks_in, without_superseded
from agent.network.following import Following
from agent.network.leaving import Leaving
from agent.network.linking import Linking
from agent.network.model import Rules, Shares, Wanted, engine_network, wanted
from agent.network.names import Names, Reply, names_of, reply_to
from agent.network.port import Changed, Machine
from agent.network.presence import Presence, present
from agent.network.serving import NameServers
from agent.network.tasks import Links
from agent.network.use import Use
from bus.port import Store
from schemas.assignment import Assignment
from schemas.clock import Clock
from schemas.errors import MeshError
from schemas.liveness import HeartbeatAnswer
from schemas.spec import TaskSpec

LOOK_EVERY = 10.0
"""Seconds between two looks at the machine while nothing asks for one earlier."""
SETTLE, CALM = 0.1, 2.0
"""Seconds from a change by others to a look; from there to the next that such changes cause."""
RETRY = 1.0
LINKS = "links"
"""What `troubles` calls links and rules as a whole."""

log = structlog.get_logger()


class Networking:
    """The networks of one node. Listeners are called when `applied` has risen, or `digest` has changed."""

    def __init__(
        self,
        owner: Owner,
        engine: Engine,
        machine: Machine,
        store: Store,
        files: Files,
        clock: Clock,
        chance: random.Random,
        ledger: Ledger,
        alone: Callable[[], bool],
    ) -> None:
        """`alone`: nobody can decide now: no leader answers, or it can't write."""
        self._owner = owner
        self._engine = engine
        self._machine = machine
        self._clock = clock
        self._ledger = ledger
        self._use = Use()
        self.following = Following(store, files, chance, self.networks)
        self.leaving = Leaving(self.following, machine, clock, self._tell, ledger)
        self.presence = Presence(owner.node, machine, lambda: self.following.view, alone)
        self.presence.listeners.append(self.following.changed.set)
        self.applied = 0
        self.digest = 0
        """Of the records that hold here."""
        self.listeners: list[Callable[[], None]] = []
        self.troubles: dict[str, str] = {}
        """What does not work here: thing -> why."""
        self.address_listeners: list[Callable[[], None]] = []
        """Called when this machine's addresses have changed."""
        self._outside = asyncio.Event()
        self.trouble_listeners: list[Callable[[], None]] = []
        self._wanted = Wanted()
        self._shares = Shares(owner.node)
        self._rules: Rules | None = None
        """What the kernel has by this process; None: nothing yet."""
        self._linking = Linking(owner, engine, machine)
        self._names = Names()
        self._servers = NameServers(machine, self.resolve)
        self._look = True
        self._mtu = 1500

    # what workers ask

    def links(self, spec: TaskSpec) -> Links:
        """See `TaskNetworks`."""
        joins, dns = [], []
        for attachment in spec.container.networks:
            bridge = self._linking.made.get(attachment.network)
            if bridge is None:
                return Links(why=self._why_not(attachment.network))
            joins.append(Join(engine_network(attachment.network)))
            dns.append(bridge.gateway)
        return Links(tuple(joins), tuple(dns[:1]))

    def may_stop(self, task: str, grace: float) -> bool:
        """See `TaskNetworks`."""
        return self.leaving.may_stop(task, grace)

    def _why_not(self, network: str) -> str:
        record = self.following.view.allocations.get(network)
        if record is None:
            return f"network {network} is not allotted yet"
        return record.why or record.without.get(self._owner.node, "") or self.troubles.get(network, "it is being made")

    # what others tell

    def obey(self, assignment: Assignment | None) -> None:
        """The assignment says which networks are used. Without one everything stays as it is."""
        if assignment is not None and self._use.obey(assignment):
            self._use_changed()

    def networks(self) -> frozenset[str]:
        """Those by which this node may be sending: its tasks' networks, and what stands from before."""
        return self._use.by_tasks | self._use.standing

    def _use_changed(self) -> None:
        self.following.look()
        self.following.changed.set()

    def tasks_changed(self) -> None:
        """The ledger has news. A container with an address is a new port of a bridge."""
        homes = self._use.homes
        if self._use.run(task for _, task in sorted(self._ledger.tasks.items())):
            self._look = self._look or homes != self._use.homes
            self._use_changed()

    def look_again(self) -> None:
        """Something outside may have changed what was made: others' changes, an engine that sets its rules anew."""
        self._look = True
        self.following.changed.set()

    def heard(self, answer: HeartbeatAnswer) -> None:
        """The leader says how far its records for this node go, and how far every node has taken over its own."""
        if self.following.begin(answer.generation):
            self.applied = 0
        self.leaving.heard(answer.endpoints_everywhere)
        self.following.told(answer.endpoints, answer.endpoints_key)
        self.following.judged(missing=answer.endpoints_missing)

    def state(self) -> State:
        """What a doctor asks for."""
        made = replace(self._wanted, bridges=tuple(self._linking.made.values()))
        return State(self.following.view, made, {**self.troubles, **self._servers.troubles})

    def resolve(self, asker: str, name: str, kind: str) -> Reply:
        """The reply to a question of a container."""
        return reply_to(self._names, asker, name, kind)

    # the loop

    async def run(self) -> None:
        """Work for ever."""
        await self.following.load()
        self._use.standing = networks_in(self.following.view)
        self.tasks_changed()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._servers.run())
            group.create_task(guarded("networks-follow", self.following.run))
            group.create_task(self.leaving.run())
            group.create_task(self.presence.run())
            group.create_task(guarded("networks-watch", lambda: self._machine.watch(self._changed_outside)))
            group.create_task(self._keep_repairing())
            group.create_task(guarded("networks", self._keep_level))

    def _changed_outside(self, what: Changed) -> None:
        self._outside.set()
        if what == "addresses":
            for listener in self.address_listeners:
                listener()

    async def _keep_repairing(self) -> None:
        """Look at once when others have changed something, but not all the time while they go on."""
        while True:
            await self._outside.wait()
            await asyncio.sleep(SETTLE)
            self._outside.clear()
            self.look_again()
            await asyncio.sleep(CALM)

    async def _keep_level(self) -> None:
        while True:
            self.following.changed.clear()
            await asyncio.sleep(0)  # what has come together, by several subscriptions, is taken in together
            pause = LOOK_EVERY
            if self.following.loaded:
                try:
                    await self._level()
                    if self._linking.unreached:
                        self._look, pause = True, RETRY
                except MeshError as error:
                    log.warning("networks.not_level", error=str(error))
                    self._note_troubles({**self.troubles, LINKS: f"networks can't be brought about here: {error}"})
                    self._look, pause = True, RETRY
            if not await sleep_unless(self.following.changed, pause):
                self._look = True

    async def _level(self) -> None:
        """One pass. Raises MeshError: the machine refuses; what was done stays, and is not done again.

        Where a tunnel can't lead to another node the rest stands, and is offered to tasks, but is not told as applied.
        """
        records, level = self.following.view, self.following.level
        used = self._use.used | records.everywhere
        self._use.standing |= used
        view = present(records, self._owner.node, self._ledger.tasks, self.presence.silent)
        if self.following.whole:
            view = without_superseded(view, self._use.by_tasks)
        ours = (each.nodes.get(self._owner.node) for each in view.allocations.values())
        tunnel = next((held.tunnel for held in ours if held is not None), "")
        ports = frozenset((port.protocol, port.published) for port in view.publish.ports)
        refused = await self._machine.reserve(ports)
        self._mtu = await self._machine.mtu(tunnel) if self._look else self._mtu
        new = wanted(view, self._owner.node, used, self._mtu, frozenset(refused), self._shares)
        self._names = names_of(view, self._use.homes)
        if new.bridges:
            self._linking.soil()  # whatever becomes of the bridges: the rules stand first
            if self._look and self._rules is not None and not await self._machine.has_rules():
                log.warning("network.rules_gone", why="somebody has flushed the ruleset")
                self._rules = None
            await self._rule(new.rules)
        if self._look or new.bridges != self._wanted.bridges:
            allotted = any(self._owner.node in each.nodes for each in self.following.view.allocations.values())
            await self._linking.bring(new.bridges, any_allotted=allotted)
            self._rules = None if self._linking.clear else self._rules
            self._servers.on({bridge.gateway for bridge in new.bridges})
        self._wanted, self._look = new, False
        standing = self._use.needed(self.following.view, used, whole=self.following.whole)
        if self._use.standing != standing:
            self._use.standing = standing
            self.following.look()
        ports_refused = {f"{port}/{protocol}": why for (protocol, port), why in refused.items()}
        self._note_troubles({**ports_refused, **self._linking.unreached, **self._linking.own_peers})
        if self._linking.unreached:
            return
        told = (self.applied, self.digest)
        self.applied, self.digest = max(level, self.applied), digest(records)
        if (self.applied, self.digest) != told:
            self._tell()

    def _tell(self) -> None:
        """Have the leader asked, and told, before the next heartbeat is due."""
        for listener in self.listeners:
            listener()

    async def _rule(self, new: Rules) -> None:
        old = self._rules
        text = rules.whole(new) if old is None else rules.change(old, new)
        if text:
            self._rules = None
            await self._machine.rules(text)
        self._rules = new
        gone = rules.left(old, new) if old is not None else frozenset()
        if gone:
            try:
                await self._machine.forget_flows(gone)
            except MeshError as error:
                log.warning("network.flows_not_forgotten", error=str(error))

    def _note_troubles(self, troubles: dict[str, str]) -> None:
        if troubles != self.troubles:
            self.troubles = troubles
            for thing, why in troubles.items():
                log.warning("network.trouble", thing=thing, why=why)
            for listener in self.trouble_listeners:
                listener()
