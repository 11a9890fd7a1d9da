"""One seed, one story: deploys, scalings, updates and removals while machines, links and stores fail; then calm.

The seed acts on what happens and when; the order within the loop stays asyncio's. After the last fault everything is
mended, and within `SETTLE` virtual seconds the mesh must be as it is wanted, and then quiet.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from schemas.errors import MeshError
from schemas.memberapi import UpdateNode
from schemas.network import Attachment, NetworkRecord
from schemas.records import RolloutRecord, ServiceRecord
from schemas.revisionapi import PromoteService, RollbackService
from schemas.serviceapi import RemoveServices, ScaleServices, ServiceDeploy
from schemas.spec import (
    ContainerSpec,
    Dependency,
    HealthCheck,
    Mode,
    Port,
    ReadyCheck,
    RestartPolicy,
    ServiceSpec,
    TaskSpec,
    UpdatePolicy,
)
from schemas.stackapi import DeployStack
from tests.sim.invariants import Violated, Watchman, records, unsettled
from tests.sim.loop import run
from tests.sim.networks import NetworkWatch, unsettled_networks
from tests.sim.stores import StoreStory
from tests.sim.world import World, silence_logs, world_of

SETTLE = 240.0
"""Virtual seconds within which the mesh must be as wanted once faults end: the longest back-off and then some."""

CALM = 20.0
"""Virtual seconds of calm: the api may still hold a request whose asker has given up."""

QUIET = 20.0
"""Virtual seconds for which nothing may be stored after that, but for the cursor of told events."""

STORE_SEEDS = 5
"""One seed of so many tells of a store that is lost, rolled back and made anew, too."""

ENDING = frozenset({"shop_job", "shop_crash"})
"""Services whose tasks end by themselves: how many run at a moment is not fixed."""

NETWORK = NetworkRecord(name="shop_net", stack="shop")


@dataclass(frozen=True)
class Result:
    """What one seed came to."""

    seed: int
    trace: str
    virtual: float
    said: tuple[str, ...]
    failure: str = ""


class Story:
    """What happens in one world."""

    def __init__(self, world: World, rng: random.Random, *, stores: bool = False) -> None:
        self.world = world
        self.rng = rng
        self.deployed: set[str] = set()
        self.stores = StoreStory(world, rng) if stores else None

    # what people do

    async def deploy(self) -> None:
        name = self.rng.choice(("shop_web", "shop_web", "shop_slow", "shop_edge", "shop_job", "shop_crash"))
        image = {"shop_slow": "slow:1", "shop_job": "job:1", "shop_crash": "crash:1"}.get(name)
        image = image or self.rng.choice(("app:1", "app:2"))
        check = HealthCheck(test=("CMD", "true")) if name == "shop_slow" else None
        condition = "on-failure" if name == "shop_job" else "any"
        joined = name in ("shop_web", "shop_slow") and self.rng.random() < 0.7
        task = TaskSpec(
            container=ContainerSpec(
                image=image,
                healthcheck=check,
                ready=ReadyCheck(port=80, interval=2.0) if self.rng.random() < 0.3 else None,
                environment={"N": str(self.rng.randint(1, 3))},
                networks=(Attachment(network=NETWORK.name),) if joined else (),
                ports=(Port(target=80, published=8080, mode="ingress"),) if joined and name == "shop_web" else (),
            ),
            restart=RestartPolicy(condition=condition, max_delay=20.0),  # type: ignore[arg-type]
        )
        update = UpdatePolicy(
            parallelism=self.rng.randint(0, 3),
            order=self.rng.choice(("stop-first", "start-first")),  # type: ignore[arg-type]
            failure_action=self.rng.choice(("pause", "continue", "rollback")),  # type: ignore[arg-type]
            delay=self.rng.choice((0.0, 0.0, 2.0)),
            monitor=self.rng.choice((0.0, 1.0, 5.0)),
            max_unavailable=self.rng.choice(("", "", "1", "50%")),
        )
        mode: Mode = "global" if name == "shop_edge" else "replicated"
        waits = image == "app:2" and name == "shop_web"
        slow = Dependency(service="shop_slow", condition="service_healthy", required=False, restart=True)
        spec = ServiceSpec(
            name=name, stack="shop", task=task, mode=mode, update=update, depends_on=(slow,) if waits else ()
        )
        replicas = None if name == "shop_edge" else self.rng.randint(1, 6)
        self.world.say(f"deploy {name} {image} x{replicas}")
        canary = self.rng.choice((0, 0, 1, 3)) if name in ("shop_web", "shop_edge") else 0
        service = ServiceDeploy(spec=spec, replicas=replicas, canary=canary)
        await self._try("stack.deploy", DeployStack(stack="shop", services=(service,), networks=(NETWORK,)))
        self.deployed.add(name)

    async def scale(self) -> None:
        names = sorted(self.deployed - {"shop_edge"})
        if names:
            name, count = self.rng.choice(names), self.rng.randint(0, 8)
            self.world.say(f"scale {name} to {count}")
            await self._try("service.scale", ScaleServices(replicas={name: count}))

    async def end_a_canary(self) -> None:
        if self.deployed:
            name = self.rng.choice(sorted(self.deployed))
            if self.rng.random() < 0.5:
                self.world.say(f"promote {name}")
                await self._try("service.promote", PromoteService(service=name))
            else:
                self.world.say(f"abort {name}")
                await self._try("service.rollback", RollbackService(service=name, canary=True))

    async def remove(self) -> None:
        if self.deployed and self.rng.random() < 0.3:
            name = self.rng.choice(sorted(self.deployed))
            self.world.say(f"remove {name}")
            await self._try("service.remove", RemoveServices(services=(name,)))
            self.deployed.discard(name)

    async def availability(self) -> None:
        name = self.rng.choice(sorted(self.world.nodes))
        state = self.rng.choice(("drain", "pause", "active"))
        self.world.say(f"{state} {name}")
        await self._try("node.update", UpdateNode(node=name, availability=state))  # type: ignore[arg-type]

    async def _try(self, what: str, request: object) -> None:
        if self.world.guarded is not None:
            return  # people wait until the store is made anew
        try:
            await self.world.ask(what, request, timeout=15.0)  # type: ignore[arg-type]
        except MeshError as error:
            self.world.say(f"  {what}: {error.code} {error.message}")

    # what befalls machines: each fault mends itself

    async def controller_crash(self) -> None:
        names = sorted(self.world.controllers)
        name = self.world.leader() if self.rng.random() < 0.7 else self.rng.choice(names or [""])
        if name in self.world.controllers:
            self.world.say(f"kill {name}")
            self.world.crash_controller(name, advise=self.rng.random() < 0.8)
            await asyncio.sleep(self.rng.uniform(0.1, 8))
            self.world.start_controller(name)

    async def controller_stall(self) -> None:
        """It hears and says nothing for long, then all of it comes at once: it may still believe that it leads."""
        name = self.world.leader() or self.rng.choice(sorted(self.world.controllers) or [""])
        if name:
            self.world.say(f"stall {name}")
            self.world.broker.partition(f"controller-{name}", outbound=self.rng.random() < 0.9, hold=True)
            await asyncio.sleep(self.rng.uniform(0.5, 30))
            self.world.broker.heal(f"controller-{name}")

    async def controller_cut(self) -> None:
        name = self.rng.choice(sorted(self.world.controllers) or [""])
        if name:
            one_way = self.rng.random()
            self.world.say(f"cut controller {name} ({one_way:.2f})")
            self.world.broker.partition(f"controller-{name}", outbound=one_way < 0.7, inbound=one_way > 0.3)
            await asyncio.sleep(self.rng.uniform(0.5, 15))
            self.world.broker.heal(f"controller-{name}")

    async def agent_crash(self) -> None:
        name = self.rng.choice(sorted(self.world.nodes))
        node = self.world.nodes[name]
        if node.powered and node.agent_runs:
            self.world.say(f"kill agent {name}")
            self.world.crash_agent(name)
            await asyncio.sleep(self.rng.uniform(0.1, 10))
            if node.powered and not node.agent_runs:
                self.world.start_agent(name)

    async def power_cut(self) -> None:
        name = self.rng.choice(sorted(self.world.nodes))
        if self.world.nodes[name].powered:
            self.world.say(f"power off {name}")
            self.world.power_off(name)
            await asyncio.sleep(self.rng.uniform(0.5, 25))
            self.world.power_on(name)

    async def node_cut(self) -> None:
        name = self.rng.choice(sorted(self.world.nodes))
        if not self.world.nodes[name].cut:
            self.world.say(f"cut {name}")
            self.world.cut(name)
            await asyncio.sleep(self.rng.uniform(0.5, 25))
            self.world.plug(name)

    async def engine_restart(self) -> None:
        node = self.world.nodes[self.rng.choice(sorted(self.world.nodes))]
        if node.powered:
            self.world.say(f"engine of {node.name} restarts")
            self.world.crash_engine(node.name, containers=self.rng.random() < 0.5)
            await asyncio.sleep(self.rng.uniform(0.2, 10))
            if node.powered:
                node.engine.recover()

    async def engine_hang(self) -> None:
        node = self.world.nodes[self.rng.choice(sorted(self.world.nodes))]
        self.world.say(f"engine of {node.name} hangs")
        node.engine.faults.hang = True
        await asyncio.sleep(self.rng.uniform(1, 40))
        node.engine.faults.hang = False

    async def engine_lies(self) -> None:
        """Answers and events are lost, a container is removed behind everyone's back."""
        node = self.world.nodes[self.rng.choice(sorted(self.world.nodes))]
        self.world.say(f"engine of {node.name} forgets and loses")
        node.engine.faults.lose_answer = node.engine.faults.lose_event = 0.2
        live = node.live()
        if live:
            node.engine.forget(self.rng.choice(live).view.id)
        await asyncio.sleep(self.rng.uniform(1, 15))
        node.engine.faults.lose_answer = node.engine.faults.lose_event = 0.0

    async def writes_stop(self) -> None:
        seconds = self.rng.uniform(1, 9)
        self.world.say(f"no writes for {seconds:.1f} s")
        self.world.broker.pause_writes(seconds, late=self.rng.random() < 0.5)
        await asyncio.sleep(seconds)

    async def bus_trouble(self) -> None:
        faults, rng = self.world.broker.faults, self.rng
        self.world.say("messages are lost, doubled, late; commits are busy or unknown")
        faults.loss, faults.duplicate = rng.uniform(0, 0.1), rng.uniform(0, 0.1)
        faults.busy, faults.unknown = rng.uniform(0, 0.3), rng.uniform(0, 0.2)
        faults.read_lag, faults.snapshot_lag = rng.randint(0, 5), rng.randint(0, 5)
        faults.delay = (0.0, rng.choice((0.01, 0.1, 0.5)))
        await asyncio.sleep(rng.uniform(2, 20))
        faults.clear()
        faults.delay = (0.0005, 0.005)

    async def run(self, seconds: float) -> None:
        """Things happen, one after the other and over each other."""
        world, rng = self.world, self.rng
        people = (self.deploy, self.deploy, self.scale, self.remove, self.availability, self.end_a_canary)
        faults = (
            self.controller_crash,
            self.controller_stall,
            self.controller_cut,
            self.agent_crash,
            self.power_cut,
            self.node_cut,
            self.engine_restart,
            self.engine_hang,
            self.engine_lies,
            self.writes_stop,
            self.bus_trouble,
        )
        allowed = rng.sample(faults, rng.randint(1, len(faults)))
        if self.stores is not None:
            allowed += [self.stores.lost, self.stores.rolled_back, self.stores.lost]
        end = world.now + seconds
        async with asyncio.TaskGroup() as group:
            await self.deploy()
            while world.now < end:
                await asyncio.sleep(rng.expovariate(1 / 4))
                act: Callable[[], Awaitable[None]] = rng.choice(people if rng.random() < 0.4 else allowed)
                group.create_task(act())  # type: ignore[arg-type]

    async def mend(self) -> None:
        """The end of all faults."""
        world = self.world
        world.say("all is mended")
        world.broker.faults.clear()
        world.broker.faults.delay = (0.0005, 0.005)
        world.broker.release()
        for name in (*(f"controller-{each}" for each in sorted(world.controllers)), "operator"):
            world.broker.heal(name)
        for name, node in sorted(world.nodes.items()):
            world.plug(name)
            node.engine.faults.hang = node.engine.faults.down = False
            node.engine.faults.lose_answer = node.engine.faults.lose_event = 0.0
            if not node.powered:
                world.power_on(name)
            if not node.agent_runs:
                world.start_agent(name)
        if self.stores is not None:
            await self.stores.mend()
        for name in sorted(world.nodes):
            await world.insist("node.update", UpdateNode(node=name, availability="active"))


async def _watch_engines(watchman: Watchman) -> None:
    while True:
        watchman.look_at_engines()
        await asyncio.sleep(0.1)


async def _settle(world: World) -> None:
    deadline, why = world.now + SETTLE, "?"
    calm_since: float | None = None
    while world.now < deadline:
        await _end_canaries(world)
        why = unsettled(world, ENDING) or _converging(world) or unsettled_networks(world)
        calm_since = None if why else (calm_since or world.now)
        if calm_since is not None and world.now - calm_since > CALM:
            return
        await asyncio.sleep(0.25)
    raise Violated(f"not settled {SETTLE:.0f} s after the last fault: {why}")


async def _end_canaries(world: World) -> None:
    """They would wait for ever, as they should; a deploy that nobody heard the answer of may have made one late."""
    for record in records(world).values():
        if isinstance(record, ServiceRecord) and record.canary and not record.removed:
            with contextlib.suppress(MeshError):
                await world.ask("service.rollback", RollbackService(service=record.name, canary=True), timeout=10.0)


def _restless(world: World) -> bool:
    """Whether a service stands whose tasks end by themselves (a request nobody answered may have been stored late)."""
    standing = {record.name for record in records(world).values() if isinstance(record, ServiceRecord)}
    return bool(standing & ENDING)


def _converging(world: World) -> str:
    """Which rollouts are still under way: a slow one replaces its slots one after the other; "" if none is."""
    stored = records(world).values()
    under_way = {each.service for each in stored if isinstance(each, RolloutRecord) and each.phase == "converging"}
    return ", ".join(sorted(under_way - ENDING)) + " converging" if under_way - ENDING else ""


async def _quiet(world: World, watchman: Watchman) -> None:
    await asyncio.sleep(10)
    before, restless = watchman.stored, _restless(world)
    await asyncio.sleep(QUIET)
    if watchman.stored - before > QUIET / 5 + 1 and not restless and not _restless(world):
        raise Violated(f"{watchman.stored - before} batches were stored in {QUIET:.0f} s in which nothing happened")


async def tell(seed: int, seconds: float = 60.0) -> Result:
    """Tell one seed's story to its end."""
    rng = random.Random(seed * 7919 + 1)
    said: list[str] = []
    trace, failure, virtual = "", "", 0.0
    try:
        async with world_of(seed, nodes=rng.randint(2, 5)) as world:
            said = world.said
            watchman = Watchman(world)
            NetworkWatch(world, watchman.note)
            watch = world.group.create_task(_watch_engines(watchman))
            story = Story(world, rng, stores=seed % STORE_SEEDS == 4)
            try:
                await world.settled()
                await story.run(seconds)
                await story.mend()
                await _settle(world)
                await _quiet(world, watchman)
                watchman.raise_if_any()
            finally:
                trace, virtual = watchman.trace, world.now
                watch.cancel()
    except* (AssertionError, MeshError) as group:
        failure = "; ".join(f"{type(error).__name__}: {error}" for error in _leaves(group))
    return Result(seed, trace, virtual, tuple(said), failure)


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def run_seed(seed: int, seconds: float = 60.0) -> Result:
    """One seed on a loop of its own."""
    silence_logs()
    return run(tell(seed, seconds))
