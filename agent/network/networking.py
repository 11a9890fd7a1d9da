"""Brings this machine's networks to what the leader's records say, and tells how far it has come.

One loop: records or tasks have changed -> what is wanted (`model.wanted`) -> steps on links (`steps.steps_to`), one
change of the rules (`rules.change`), names. The first rules of a process replace the whole table in one transaction, so
that whatever an earlier process left half done is mended and no connection notices. `applied` rises only after that.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from ipaddress import IPv4Network

import structlog

from agent.engine.port import LABEL_NETWORK, Engine, Join, NetworkPlan, Owner
from agent.files import Files
from agent.guards import guarded, sleep_unless
from agent.ledger import Ledger
from agent.network import rules
from agent.network.following import Following
from agent.network.model import Bridge, Rules, Wanted, engine_network, wanted
from agent.network.names import Names, Reply, names_of, reply_to
from agent.network.port import Machine
from agent.network.steps import DropNetwork, Found, MakeNetwork, SetHairpin, Step, steps_to
from agent.network.tasks import Links
from bus.port import Store
from schemas.assignment import Assignment
from schemas.clock import Clock
from schemas.errors import Conflict, MeshError
from schemas.liveness import HeartbeatAnswer
from schemas.spec import TaskSpec

LOOK_EVERY = 10.0
"""Seconds between two looks at the machine while nothing asks for one earlier."""
RETRY = 1.0
NOTICE_WITHIN = 5.0
"""Seconds that a task's stop waits at most until no node sends it anything new."""
PROMPT_EVERY = 0.1
"""Seconds between two heartbeats while a task waits for that."""
LINGER = 0.3
"""Seconds that it runs on after that: for what was on its way."""

log = structlog.get_logger()


class Networking:
    """The networks of one node. Listeners are called when `applied` has risen."""

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
    ) -> None:
        self._owner = owner
        self._engine = engine
        self._machine = machine
        self._clock = clock
        self._ledger = ledger
        self._homes: tuple[dict[str, str], ...] = ()
        """Of each task of this node its addresses by network."""
        self._used: set[str] = set()
        self.following = Following(store, files, chance, lambda: set(self._used))
        self.applied = 0
        self.listeners: list[Callable[[], None]] = []
        self.troubles: dict[str, str] = {}
        """What does not work here: thing -> why."""
        self._everywhere = 0
        self._wanted = Wanted()
        self._clear = False
        """Whether nothing of ours is on the machine, as far as this process has seen to it."""
        self._rules: Rules | None = None
        """What the kernel has by this process; None: nothing yet."""
        self._made: dict[str, Bridge] = {}
        """Networks that are ready for containers."""
        self._names = Names()
        self._servers: dict[str, tuple[asyncio.Task[None], asyncio.Event]] = {}
        self._leaving: dict[str, float] = {}
        self._prompt_at = 0.0
        self._look = True
        self._mtu = 1500
        self._group: asyncio.TaskGroup | None = None

    # what workers ask

    def links(self, spec: TaskSpec) -> Links:
        """See `TaskNetworks`."""
        joins, dns = [], []
        for attachment in spec.container.networks:
            bridge = self._made.get(attachment.network)
            if bridge is None:
                return Links(why=self._why_not(attachment.network))
            joins.append(Join(engine_network(attachment.network)))
            dns.append(bridge.gateway)
        return Links(tuple(joins), tuple(dns[:1]))

    def may_stop(self, task: str) -> bool:
        """See `TaskNetworks`."""
        now = self._clock.monotonic()
        since = self._leaving.setdefault(task, now)
        gone = self.following.left.get(task)
        named = any(task == each.task for record in self.following.view.endpoints.values() for each in record.backends)
        if not named and gone is None:
            noticed = True  # it never took connections
        else:
            noticed = gone is not None and not named and self._everywhere >= gone
            if noticed and now - since < LINGER:
                return False
        if not noticed and now >= self._prompt_at:
            self._prompt_at = now + PROMPT_EVERY
            self._tell()
        if noticed or now - since > NOTICE_WITHIN:
            if not noticed:
                log.warning("task.stopped_unnoticed", task=task, gone=gone, everywhere=self._everywhere)
            self._leaving.pop(task, None)
            return True
        return False

    def _why_not(self, network: str) -> str:
        record = self.following.view.allocations.get(network)
        if record is None:
            return f"network {network} is not allotted yet"
        return record.why or record.without.get(self._owner.node, "") or self.troubles.get(network, "it is being made")

    # what others tell

    def obey(self, assignment: Assignment | None) -> None:
        """The assignment says which networks are used. Without one everything stays as it is."""
        if assignment is None:
            return
        specs = {task.spec for task in assignment.tasks}
        found = (assignment.specs.get(spec) for spec in specs)
        networks = {each.network for spec in found if spec is not None for each in spec.container.networks}
        if networks != self._used:
            self._used = networks
            self.following.fetch()
            self.following.changed.set()

    def tasks_changed(self) -> None:
        """The ledger has news. A container with an address is a new port of a bridge."""
        homes = tuple(task.addresses for _, task in sorted(self._ledger.tasks.items()) if task.addresses)
        if homes != self._homes:
            self._homes, self._look = homes, True
            self.following.changed.set()

    def heard(self, answer: HeartbeatAnswer) -> None:
        """The leader says how far its records go, and how far every node has taken them over."""
        self._everywhere = max(self._everywhere, answer.endpoints_everywhere)
        self.following.told(answer.endpoints)

    def resolve(self, asker: str, name: str, kind: str) -> Reply:
        """The reply to a question of a container."""
        return reply_to(self._names, asker, name, kind)

    # the loop

    async def run(self) -> None:
        """Work for ever."""
        await self.following.load()
        self.tasks_changed()
        async with asyncio.TaskGroup() as group:
            self._group = group
            group.create_task(guarded("networks-follow", self.following.run))
            group.create_task(guarded("networks", self._keep_level))

    async def _keep_level(self) -> None:
        while True:
            self.following.changed.clear()
            pause = LOOK_EVERY
            if self.following.loaded:
                try:
                    await self._level()
                except MeshError as error:
                    log.warning("networks.not_level", error=str(error))
                    self._look, pause = True, RETRY
            if not await sleep_unless(self.following.changed, pause):
                self._look = True

    async def _level(self) -> None:
        """One pass. Raises MeshError: the machine refuses; what was done stays, and is not done again."""
        level = self.following.level
        view = self.following.view
        ours = (each.nodes.get(self._owner.node) for each in view.allocations.values())
        tunnel = next((held.tunnel for held in ours if held is not None), "")
        ports = frozenset((port.protocol, port.published) for port in view.publish.ports)
        refused = await self._machine.reserve(ports)
        self._mtu = await self._machine.mtu(tunnel) if self._look else self._mtu
        new = wanted(view, self._owner.node, self._used, self._mtu, frozenset(refused))
        self._names = names_of(view, self._homes)
        if new.bridges:
            await self._rule(new.rules)
        if self._look or new.bridges != self._wanted.bridges:
            await self._link(new.bridges)
        self._wanted, self._look = new, False
        self._note_troubles({f"{port}/{protocol}": why for (protocol, port), why in refused.items()})
        if level > self.applied:
            self.applied = level
            self._tell()

    def _tell(self) -> None:
        """Have the leader asked, and told, before the next heartbeat is due."""
        for listener in self.listeners:
            listener()

    async def _link(self, bridges: Iterable[Bridge]) -> None:
        bridges = tuple(bridges)
        if not bridges and not await self._has_any():
            return
        for _ in range(2):
            # What a step makes shows only when it is looked for again: the ports of a new bridge.
            steps = steps_to(bridges, await self._found())
            for step in steps:
                log.info("network.step", step=step.describe())
                await self._do(step)
            if not steps:
                break
        if bridges:
            await self._machine.guard()
            self._clear = False
        elif not self._clear:
            await self._machine.clear()
            self._rules, self._clear = None, True
        self._made = {bridge.network: bridge for bridge in bridges}
        self._serve({bridge.gateway for bridge in bridges})

    async def _has_any(self) -> bool:
        """Whether anything on the machine may be ours: another agent may share it, whose networks are its own."""
        allotted = any(self._owner.node in each.nodes for each in self.following.view.allocations.values())
        return allotted or bool(self._made) or bool(await self._engine.networks(self._owner))

    async def _found(self) -> Found:
        found = await self._machine.find()
        networks = await self._engine.networks(self._owner)
        return Found(
            networks={each.name: each for each in networks},
            tunnels=found.tunnels,
            virtual=found.virtual,
            bridges=found.bridges,
            ports=found.ports,
        )

    async def _do(self, step: Step) -> None:
        match step:
            case MakeNetwork(bridge):
                await self._engine.create_network(network_plan(bridge, self._owner))
            case DropNetwork(name):
                try:
                    await self._engine.remove_network(name, self._owner)
                except Conflict as error:
                    log.info("network.kept", name=name, why=str(error))
            case SetHairpin(device):
                try:
                    await self._machine.do(step)
                except MeshError as error:
                    # Its container has just ended.
                    log.info("network.port_gone", device=device, error=str(error))
            case _:
                await self._machine.do(step)

    async def _rule(self, new: Rules) -> None:
        text = rules.whole(new) if self._rules is None else rules.change(self._rules, new)
        if text:
            self._rules = None
            await self._machine.rules(text)
        self._rules = new

    def _note_troubles(self, troubles: dict[str, str]) -> None:
        if troubles != self.troubles:
            self.troubles = troubles
            for thing, why in troubles.items():
                log.warning("network.trouble", thing=thing, why=why)

    def _serve(self, addresses: set[str]) -> None:
        """Names are answered on these addresses and no others."""
        assert self._group is not None, "run has begun"
        for address in self._servers.keys() - addresses:
            _, stop = self._servers.pop(address)
            stop.set()
        for address in sorted(addresses - self._servers.keys()):
            stop = asyncio.Event()
            task = self._group.create_task(self._keep_serving(address, stop), name=f"names {address}")
            self._servers[address] = (task, stop)

    async def _keep_serving(self, address: str, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                async with self._machine.serve_names(address, self.resolve):
                    await stop.wait()
            except OSError as error:
                log.warning("names.not_served", address=address, error=str(error))
                await sleep_unless(stop, RETRY)


def network_plan(bridge: Bridge, owner: Owner) -> NetworkPlan:
    """What the engine is asked to make. The ends of the node's range are kept from it: it would give them out."""
    first, last = _ends(bridge.range)
    return NetworkPlan(
        name=bridge.engine_name,
        device=bridge.device,
        subnet=bridge.subnet,
        range=bridge.range,
        gateway=bridge.gateway,
        mtu=bridge.mtu,
        internal=bridge.internal,
        reserved=(("first", first), ("last", last)),
        labels={**owner.labels, LABEL_NETWORK: bridge.network},
    )


def _ends(range_: str) -> tuple[str, str]:
    network = IPv4Network(range_)
    return str(network[0]), str(network[-1])
